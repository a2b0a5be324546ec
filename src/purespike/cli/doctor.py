"""The command that looks at the machine: doctor."""

from purespike.cli.options import Device, app, start
from purespike.console import fail, show


@app.command()
def doctor(device: Device = "auto") -> None:
    """Show versions, devices and what is fast here, and check the neurons against float64.

    Exit code 1 if a check fails.
    """
    from purespike.doctor import (
        check_kernels,
        describe_extras,
        describe_machine,
        describe_versions,
        measure_speed,
    )

    place = start(device).device
    for fact in (*describe_versions(), *describe_machine(), *describe_extras()):
        show(str(fact))
    show(f"\nneurons against a float64 loop, on {place} (the compiler takes some seconds):")
    checks = check_kernels(place)
    for check in checks:
        show(str(check))
    show("\nspeed:")
    for fact in measure_speed(place):
        show(str(fact))
    wrong = [check.name for check in checks if not check.passed]
    if wrong:
        fail(f"{len(wrong)} of {len(checks)} checks failed: {'; '.join(wrong)}", code=1)
    show(f"\nall {len(checks)} checks passed")
