from benchmarks.report import Row
def rows() -> list[Row]:
    return []
