"""Words that end with a full stop, by what the stop then means; here without it, and in lower case."""

from __future__ import annotations

from typing import Final

__all__ = ["MAY_END", "NEVER_END", "NUMBERED", "ORDINAL_BEFORE", "SINGLE", "TITLES"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TITLES: Final = _words(
    "Mr Mrs Ms Mx Messrs Dr Drs Prof Rev Fr Hon Gen Col Maj Capt Cmdr Lt Sgt Cpl Adm Gov Sen Rep Pres Supt St Ste Mt "
    "Ft Hr Frl Dipl Ing Mag Bhf M MM Mme Mmes Mlle Mlles Mgr Sr Sra Sres Sras Srta Dra Dña Ud Uds Vd Sto Sta EE Sig "
    "Sigg Dott Avv Dhr Mevr Mw Exmo Exma sig dott avv prof dr sr sra г-н г-жа проф им ул डॉ श्री प्रो"
)
"""With their capitals: a name follows, so the sentence always continues."""

NEVER_END: Final = _words(
    "e.g i.e eg ie viz vs v.s cf ca c.f approx resp bzw bspw ggf sog vgl z.B d.h u.a u.u i.d.R o.ä z.T z.Zt evtl inkl "
    "exkl zzgl bzgl mio mrd tsd Mio Mrd Tsd allg tel p.ex c.-à-d env bijv d.w.z o.a np tzn tj m.in т.е напр см p.ej ej "
    "incl esp ed eds trans"
)
"""They announce what follows. The first letter may be a capital, the others are as they stand."""

MAY_END: Final = _words(
    "etc usw usf u.s.w ecc enz itd itp т.д т.п др al a.m p.m u.s u.k u.n e.u u.s.a d.c l.a n.y a.d b.c b.c.e c.e ph.d "
    "m.d b.a m.a b.s m.s ll.m r.i.p uu inc ltd co corp bros llc plc jr esq n.chr v.chr"
)
"""They end a sentence if a capital follows, or a script that has none."""

NUMBERED: Final = _words(
    "no nos nr nrn num núm n fig figs abb vol bd p pp pg s pag pág ch chap kap cap sec sect art abs par v vv op ex eq "
    "ext apt rm hwy rte jan feb mar apr jun jul aug sep sept oct okt nov dec dez str godz д стр кв"
)
"""They go on before a digit, and otherwise are words: `No. 5`, but `No. Never.`"""

ORDINAL_BEFORE: Final = _words(
    "am vom zum zur beim im der die das dem den des ab seit bis und oder eine einer jeder jede jedes jeden"
)
"""What makes a German ordinal of the number behind it: `am 3. Mai`."""

SINGLE: Final = _words("z d u o i s v p h г е к п т")
"""Letters that stand for words, in lower case only: `z. B.`, `т. е.`. Capitals are initials."""
