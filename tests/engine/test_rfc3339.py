from engine import rfc3339


def test_fractions():
    assert rfc3339.seconds(1.5) == "1970-01-01T00:00:01Z"
    assert rfc3339.nine_digits(1_500_000_000) == "1970-01-01T00:00:01.500000000Z"
    assert rfc3339.shortest(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert rfc3339.shortest(1_000_000_000) == "1970-01-01T00:00:01Z"
