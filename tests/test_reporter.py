from driftcli.reporter import Part, Reporter


class Keeping(Reporter):
    def __init__(self):
        self.told = []

    def message(self, text):
        self.told.append(text)

    def progress(self, stage, done, total, recording_s=0.0):
        self.told.append((stage, round(done / total, 6), recording_s))

    def note(self, event, **facts):
        self.told.append((event, facts))


def test_a_part_tells_its_share_of_the_whole():
    keeping = Keeping()
    part = Part(keeping, 0.25, 0.75)
    part.progress("estimate", 0, 4)
    part.progress("estimate", 1, 4, recording_s=80.0)
    part.progress("estimate", 4, 4)
    assert keeping.told == [("estimate", 0.25, 0.0), ("estimate", 0.375, 30.0), ("estimate", 0.75, 0.0)]


def test_parts_within_parts():
    keeping = Keeping()
    Part(Part(keeping, 0.5, 1), 0.5, 1).progress("estimate", 1, 2)
    assert keeping.told == [("estimate", 0.875, 0.0)]


def test_what_else_a_part_tells_is_passed_on():
    keeping = Keeping()
    part = Part(keeping, 0, 1)
    part.message("no peaks")
    part.note("lost", blocks=3)
    assert keeping.told == ["no peaks", ("lost", {"blocks": 3})]
