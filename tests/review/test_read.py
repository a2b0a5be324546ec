"""Tables as people type them, and what a mistake in one is told."""

import pytest

from purespike.errors import InputError
from purespike.review import Entry, read_table


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_attacks_are_read_as_papers_print_them(table):
    columns = "name,clean,FGSM,PGD-7,BIM-10,MI-FGSM,C&W@none,AA,APGD-CE,Square"
    (row,) = read_table(table(f"{columns}\nours,91.5,50,40.2,41,42,0,35,36,60\n"), eps="8/255")
    assert (row.name, row.clean) == ("ours", 0.915)
    found = {(e.attack, e.steps, e.eps, e.unbounded): e.accuracy for e in row.entries}
    eps = 8 / 255
    assert found == {
        ("fgsm", None, eps, False): 0.50,
        ("pgd", 7, eps, False): pytest.approx(0.402),
        ("ifgsm", 10, eps, False): 0.41,
        ("mifgsm", None, eps, False): 0.42,
        ("cw", None, None, True): 0.0,
        ("autoattack", None, eps, False): 0.35,
        ("apgd_ce", None, eps, False): 0.36,
        ("square", None, eps, False): 0.60,
    }


def test_attacks_are_read_as_the_command_line_writes_them(table):
    column = '"pgd:steps=20:restarts=2:eot=10:surrogates=4@16/255"'
    (row,) = read_table(table(f"name,clean,{column},pgd:norm=l2:threat=transfer@0.5\na,90,40,80\n"))
    assert row.entries == (
        Entry(attack="pgd", accuracy=0.4, eps=16 / 255, steps=20, restarts=2, eot=10, surrogates=4),
        Entry(attack="pgd", accuracy=0.8, eps=0.5, norm="l2", threat="transfer"),
    )


def test_a_column_beats_the_row_and_the_row_the_default(table):
    text = "name,clean,eps,FGSM,PGD-7@2/255\na,90,4/255,50,40\nb,90,,50,–\n"
    one, other = read_table(table(text), eps="8/255")
    assert [entry.eps for entry in one.entries] == [4 / 255, 2 / 255]
    assert [entry.eps for entry in other.entries] == [8 / 255]


def test_columns_in_capitals_other_delimiters_and_decimal_commas(table):
    for text in (
        "Name;CLEAN;FGSM;Eps\na;91,5;50,2%;8/255\n",
        "Name\tclean\tFGSM\teps\na\t91.5\t50.2\t8/255\n",
    ):
        (row,) = read_table(table(text))
        assert (row.name, row.clean) == ("a", 0.915)
        assert row.entries == (Entry(attack="fgsm", accuracy=pytest.approx(0.502), eps=8 / 255),)


def test_the_number_of_an_attack_without_gradients_is_one_of_queries(table):
    (row,) = read_table(table("name,clean,Square-5000\na,90,50\n"))
    (entry,) = row.entries
    assert (entry.queries, entry.steps) == (5000, None)


def test_what_is_known_of_a_row(table):
    columns = "name;clean;training;training_eps;stochastic;images;zero_gradient"
    (row,) = read_table(table(f"\ufeff{columns}\na;90%;adversarial;8/255;yes;1,000;25\n"))
    assert (row.training, row.training_eps, row.stochastic) == ("adversarial", 8 / 255, True)
    assert (row.images, row.zero_gradient, row.clean) == (1000, 0.25, 0.9)


@pytest.mark.parametrize(
    ("column", "entry"),
    {
        "PGD (20 steps)": Entry(attack="pgd", accuracy=0.5, steps=20),
        "PGD(7 iterations)": Entry(attack="pgd", accuracy=0.5, steps=7),
        "C&W-L2": Entry(attack="cw", accuracy=0.5, norm="l2", unbounded=True),
        "PGD-20-L2@0.5": Entry(attack="pgd", accuracy=0.5, steps=20, norm="l2", eps=0.5),
        "APGD L∞@8/255": Entry(attack="apgd_ce", accuracy=0.5, eps=8 / 255),
    }.items(),
)
def test_attacks_as_papers_print_them(table, column, entry):
    (row,) = read_table(table(f"name,clean,{column}\na,90,50\n"))
    assert row.entries == (entry,)


def test_words_in_any_case_an_empty_last_column_and_names_of_several_lines(table):
    (row,) = read_table(table('name,clean,training,Stochastic,\n"a\n\x1b b",90,Clean,Yes,\n'))
    assert (row.name, row.training, row.stochastic) == ("a b", "clean", True)


MISTAKES = {
    "": "needs a line of column names",
    "name,clean\n": "needs a line of column names",
    "clean,FGSM\n90,50\n": "no column 'name'",
    "name,FGSM\na,50\n": "no column 'clean'",
    "name,clean,FGMS\na,90,50\n": "did you mean 'fgsm'",
    "name,clean,FGSM,FGSM\na,90,50,50\n": "is there twice",
    "name,clean,FGSM\na,90\n": "line 2: 2 cells under 3 columns",
    "name,clean,FGSM\na,90,fifty\n": "line 2 ('a'): FGSM: must be a number in percent, got 'fifty'",
    "name,clean,FGSM\na,90,150\n": "must lie between 0 and 100 percent",
    "name,clean,FGSM\na,90,inf\n": "must lie between 0 and 100 percent",
    "name,clean,FGSM\na,0.9,0.5\n": "give percentages",
    "name,clean,FGSM\na,90,50\nb,0.9,0.5\n": "line 3 ('b'): clean: give percentages, 91.5 and not 0.915",
    'name,clean\n"a\nb",90\nc,200\n': "line 4 ('c'): clean: must lie",
    "name,clean,PGD-7,pgd:steps=7\na,90,50,55\n": "columns 'PGD-7' and 'pgd:steps=7' are one attack",
    'name,clean,"PGD-7, 8/255"\na,90,50\n': "one attack belongs here; a comma separates several",
    "name,clean,PGD-L2\na,90,50\n": "names a norm without a budget; write pgd:norm=l2@EPS",
    "name,clean,DeepFool\na,90,50\n": "unknown attack or column 'deepfool'",
    "name,clean,PGD-7:steps=20\na,90,50\n": "steps are 7 by its name and 20 besides",
    "name,clean,FGSM\na,90,5_0\n": "must be a number in percent",
    "name,clean,FGSM\na,1.0,0.5\n": "give percentages",
    "name,clean,eps,PGD-7,PGD-7@8/255\na,90,8/255,40,30\n": "are one attack at one budget; leave one of them",
    "name,clean,FGSM-7\na,90,50\n": "FGSM takes one step; BIM takes several",
    "name,Clean,clean\na,90,50\n": "'clean' is there twice",
    "name,clean,FGSM\na,,50\n": "line 2: clean is empty",
    "name,clean,training\na,90,natural\n": "training: must be clean or adversarial",
    "name,clean,stochastic\na,90,maybe\n": "stochastic: must be yes or no",
    "name,clean,images\na,90,many\n": "images: must be a whole number",
    "name,clean,eps\na,90,8\n": "write 8/255, not 8",
    "name,clean,PGD-7@8\na,90,50\n": "column 'PGD-7@8': eps: must lie in [0, 1]",
    "name,clean,pgd:step=7\na,90,50\n": "unknown setting 'step'",
    "name,clean,pgd:steps=0\na,90,50\n": "steps: must be a whole number of at least 1",
    "name,clean,pgd:threat=nobody\na,90,50\n": "unknown threat model 'nobody'",
    "name,clean,pgd:norm=l7@1\na,90,50\n": "unknown norm 'l7'",
    'name,clean\n"a,90\n': "cannot be read as CSV",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_says_where(table, text):
    with pytest.raises(InputError) as error:
        read_table(table(text))
    assert MISTAKES[text] in str(error.value)
    assert "table.csv" in str(error.value)
    assert "\n" not in str(error.value)
