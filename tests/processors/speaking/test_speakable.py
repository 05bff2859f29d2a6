"""What is written, and how people say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.processors.speaking.speakable import speakable, spoken_pieces

TABLE = """
0 | zero
7 apples | seven apples
13 | thirteen
21 | twenty-one
100 | one hundred
305 | three hundred five
1,234 | one thousand two hundred thirty-four
12000 | twelve thousand
1,000,000 | one million
2,500,000,000 | two billion five hundred million
-5 | minus five
3.14 | three point one four
0.5 | zero point five
007 | zero zero seven
1st | first
2nd | second
3rd | third
12th | twelfth
20th | twentieth
21st | twenty-first
100th | one hundredth
in 1984 | in nineteen eighty-four
in 1905 | in nineteen oh five
in 1900 | in nineteen hundred
in 2005 | in two thousand five
in 2024 | in twenty twenty-four
2024-03-05 | March fifth, twenty twenty-four
12/25/2023 | December twenty-fifth, twenty twenty-three
March 3 | March third
March 3, 2024 | March third, twenty twenty-four
Jan. 5th | January fifth
Sept 21 | September twenty-first
3 March | the third of March
the 4th of July | the fourth of July
14 May 1999 | the fourteenth of May nineteen ninety-nine
7:05 pm | seven oh five P M
7:30am | seven thirty A M
3pm | three P M
11 a.m. we eat | eleven A M we eat
12:00 | twelve o'clock
14:30 | fourteen thirty
at 9:00. | at nine o'clock.
$5 | five dollars
$1 | one dollar
$9.99 | nine dollars and ninety-nine cents
$0.50 | fifty cents
$1.01 | one dollar and one cent
€20 | twenty euros
£3.50 | three pounds and fifty pence
¥300 | three hundred yen
$1,299.00 | one thousand two hundred ninety-nine dollars
$3.2 million | three point two million dollars
$5k | five thousand dollars
50% | fifty percent
99.9 % | ninety-nine point nine percent
20°C | twenty degrees Celsius
-1°F | minus one degree Fahrenheit
90° | ninety degrees
5 km | five kilometers
1 km | one kilometer
1.5kg | one point five kilograms
60 mph | sixty miles per hour
100 km/h | one hundred kilometers per hour
6 ft | six feet
16 GB | sixteen gigabytes
50 Hz | fifty hertz
250ml | two hundred fifty milliliters
10 min | ten minutes
me@example.com | me at example dot com
jane.doe+x@mail.co.uk | jane dot doe plus x at mail dot co dot uk
bob_7@example.org | bob underscore seven at example dot org
https://example.com/help | example dot com slash help
www.example.org. | www dot example dot org.
Go to example.com, please | Go to example dot com, please
555-0123 | five five five, zero one two three
(212) 555-0123 | two one two, five five five, zero one two three
+1 212-555-0123 | plus one, two one two, five five five, zero one two three
+49 30 123456 | +49 30 123456
212.555.0123 | two one two, five five five, zero one two three
Dr. Smith | Doctor Smith
Mr. and Mrs. Jones | Mister and Missus Jones
St. John | Saint John
12 Main St. | twelve Main Street.
fruit, e.g. apples | fruit, for example apples
apples, pears, etc. | apples, pears, et cetera.
cats vs. dogs | cats versus dogs
bread & butter | bread and butter
No. 5 | number five
No. Never | No. Never
#1 | number one
5-10 people | five to ten people
1/2 cup | one half cup
3/4 | three quarters
2/3 | two thirds
24/7 | 24/7
May I? | May I?
Hello there. | Hello there.
"""
ROWS = [tuple(each.split(" | ")) for each in TABLE.strip().splitlines() if "+49" not in each and "24/7" not in each]


@pytest.mark.parametrize(("written", "said"), ROWS)
def test_table(written: str, said: str) -> None:
    assert speakable(written) == said


def test_there_are_enough_rows() -> None:
    assert len(ROWS) >= 80


@given(st.text(st.sampled_from("0123456789 .,:-/$%°€amp@#CkgMaySt()+\n"), max_size=40))
def test_written_pieces_are_the_text(text: str) -> None:
    """Whatever stands in it."""
    assert "".join(written for written, _ in spoken_pieces(text)) == text


def test_a_language_without_rules_is_left_as_it_is() -> None:
    assert speakable("3 Äpfel", "xx-YY") == "3 Äpfel"
    assert speakable("3 apples", "en-GB") == "three apples"
