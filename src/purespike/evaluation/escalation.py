def examine_and_escalate(*a, **k):
    raise NotImplementedError
