def write_report(out: str) -> str:
    return out
