"""What a result is about and where it came from: model, data, command, commit, machine."""

from pydantic import Field

from purespike.results.record import Count, Number, Record


class Hardware(Record):
    """The machine; anything may be unknown."""

    device: str | None = None
    cpu: str | None = None
    cores: Count | None = None
    threads: Count | None = None
    memory_gib: Number | None = None

    @property
    def text(self) -> str:
        """``cpu, AMD EPYC 7763, 4 cores, 15.6 GiB memory``."""
        cores = f"{self.cores} cores" if self.cores else ""
        memory = f"{self.memory_gib} GiB memory" if self.memory_gib else ""
        return ", ".join(part for part in (self.device, self.cpu, cores, memory) if part)


class Provenance(Record):
    """What it takes to repeat a result; anything may be unknown.

    Args:
        command: command line.
        commit: commit of the checkout, if it is one.
        dirty: whether tracked files differed from the commit.
        seed: seed of the run.
        date: time in ISO 8601.
        hardware: the machine.
        versions: version of each package.
    """

    command: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    seed: Count | None = None
    date: str | None = None
    hardware: Hardware = Field(default_factory=Hardware)
    versions: dict[str, str] = Field(default_factory=dict)


class PartDescription(Record):
    """Architecture of a classifier or purifier; its settings and parameter count are further keys."""

    architecture: str = "unnamed"

    @property
    def text(self) -> str:
        """``senet18_snn (11,268,298 parameters)``."""
        parameters = (self.model_extra or {}).get("parameters")
        count = f" ({parameters:,} parameters)" if isinstance(parameters, int) else ""
        return f"{self.architecture}{count}"


class ModelDescription(Record):
    """A classifier, and the purifier before it if there is one."""

    classifier: PartDescription
    purifier: PartDescription | None

    @property
    def text(self) -> str:
        """The architectures alone: ``purifier + senet18_snn``."""
        if self.purifier is None:
            return self.classifier.architecture
        name = self.purifier.architecture
        return f"{'purifier' if name == 'unnamed' else name} + {self.classifier.architecture}"


class DataDescription(Record):
    """The images that were attacked; ``missing_classes`` are those that a subset lacks."""

    source: str
    split: str | None = None
    n: Count
    fingerprint: str | None = None
    missing_classes: tuple[Count, ...] = ()

    @property
    def text(self) -> str:
        """``360 digits test images``."""
        return " ".join(str(part) for part in (self.n, self.source, self.split, "images") if part)
