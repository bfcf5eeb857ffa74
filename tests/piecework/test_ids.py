import pytest
from hypothesis import given, strategies as st

from piecework.protocol.ids import ID_MAX, NO_ID, Id


@given(st.integers(0, ID_MAX))
def test_an_id_is_read_back_from_its_text_and_its_number(number):
    assert Id.parse(str(number)) == Id.parse(number) == number
    assert isinstance(Id.parse(str(number)), Id)


@pytest.mark.parametrize("value", [-1, ID_MAX + 1, "9223372036854775808", "-5", 2**80])
def test_numbers_outside_the_signed_64_bit_range_are_refused(value):
    with pytest.raises(ValueError, match="an id"):
        Id.parse(value)


@pytest.mark.parametrize(
    "value", ["", "abc", "1.5", "0x10", "\uff11", "1 2", None, True, 1.0, b"1", [], "9" * 5000]
)
def test_what_is_not_a_decimal_number_is_refused(value):
    with pytest.raises(ValueError, match="an id is a decimal number as a string"):
        Id.parse(value)


@given(st.one_of(st.text(), st.integers(), st.none(), st.booleans(), st.floats(), st.binary()))
def test_parsing_gives_an_id_in_range_or_a_value_error(value):
    try:
        found = Id.parse(value)
    except ValueError:
        return
    assert NO_ID <= found <= ID_MAX
