"""A scale that takes seconds: every data set is the digits, two are not available."""

import yaml

TRAINED = "{architecture: %s, width: 0.0625, time_steps: 2, epochs: 1, batch_size: 32, learning_rate: 0.1}"
TINY = yaml.safe_load(
    f"""
about: a test
images: 4
batch_size: 4
surrogates: [rectangle(width=1)]
losses: [ce]
timed_images: 32
repeats: 1
shown: 2
recipes:
  mnist: &recipe
    data: {{source: digits, train_limit: 64, test_limit: 16}}
    classifier: {TRAINED % "resnet14_snn"}
    purifier: {{width: 0.0625, time_steps: 2, epochs: 1, batch_size: 32, learning_rate: 0.001}}
  cifar10: *recipe
  cifar100: {{data: {{source: "npz:missing/cifar100"}}}}
  svhn: {{data: {{source: "npz:missing/svhn"}}}}
variants:
  k1: {{classifier: {{thresholds: [0.6]}}}}
  k2: {{classifier: {{thresholds: [0.6, 1.6]}}}}
  k3: {{classifier: {{thresholds: [0.6, 1.6, 2.6]}}}}
  k4: {{classifier: {{thresholds: [0.6, 1.6, 2.6, 3.6]}}}}
  ols: {{classifier: {{smoothing: ols}}}}
  resnet20: {{classifier: {{architecture: resnet20_snn}}}}
  wideresnet: {{classifier: {{architecture: wideresnet16_8_snn}}}}
ablations:
  default: {{}}
  half clean: {{purifier: {{clean_share: 0.5}}}}
holding:
  mnist:
    eps: 16/255
    control: {{classifier: {{objective: {{name: fgsm, eps: 16/255, surrogates: [rectangle, atan]}}}}}}
    purifier: {{purifier: {{output: reconstruction, objective: {{name: end_to_end, eps: 16/255, guard: 0}}}}}}
    before_control: {{purifier: {{output: gated}}}}
    briefly: {{purifier: {{batch_size: 64}}}}
    ablations:
      as it is: {{}}
      residual: {{purifier: {{output: residual, start: paper}}}}
peers:
  dataset: mnist
  eps: 16/255
  images: 8
  batch_size: 8
  network: {{classifier: {{thresholds: [0.6]}}}}
  sender: PGD-AT
  hardest:
    surrogates: [rectangle, atan]
    white_box: [{{name: pgd, steps: 2}}]
    apgd: [{{name: apgd_ce, steps: 3}}]
    query: [{{name: square, queries: 4}}]
    transfer: [{{name: fgsm}}]
    eot: 2
  passes: 3
  adversarial: {{name: pgd, eps: 16/255, steps: 2}}
  rows:
    plain: {{}}
    PGD-AT: {{adversarial: true}}
    SNN-RAT:
      classifier: {{objective: [{{name: pgd, eps: 2/255, steps: 2}}, {{name: parseval}}]}}
      cost: 3
      published: [{{about: L∞ 8/255, numbers: {{clean: 90.74, fgsm: 45.23, pgd: 21.16}}}}]
    Poisson:
      classifier: {{coding: poisson}}
      sweep: {{"signed": {{coding: signedpoisson}}, "diverging": {{learning_rate: 1.0e+30}}}}
    diverged: {{classifier: {{learning_rate: 1.0e+30}}}}
    "PGD-AT, purifier": {{before: PGD-AT, purifier: {{}}}}
    joint detection: {{before: "PGD-AT, purifier", gate: {{images: 32, coverage: 0.75}}}}
hardest:
  surrogates: [rectangle, atan]
  white_box: [{{name: pgd, steps: 2}}, {{name: fgsm}}]
  query: [{{name: square, queries: 4}}]
  transfer: [{{name: fgsm}}]
"""
)
