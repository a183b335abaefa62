"""Everything that `kebyt5 bench` can compare.

To add an alternative, write a class and list it here.
"""

from kebyt5.bench.engines import (
    ConstrainedEngineFloat32,
    ConstrainedEngineInt8,
    EngineFloat32,
    EngineInt8,
    PlainEngineFloat32,
    PlainEngineInt8,
)
from kebyt5.bench.models import (
    Alternative,
    CTranslate2Float32,
    CTranslate2Int8,
    GBSTKEByT5,
    KEByT5,
    NaiveGBST,
    TransformersEager,
    TransformersLookup,
    TransformersSDPA,
)

ALTERNATIVES: dict[str, type[Alternative]] = {
    alternative.name: alternative
    for alternative in (
        TransformersEager,
        TransformersSDPA,
        TransformersLookup,
        CTranslate2Float32,
        CTranslate2Int8,
        KEByT5,
        PlainEngineFloat32,
        PlainEngineInt8,
        NaiveGBST,
        GBSTKEByT5,
        EngineFloat32,
        EngineInt8,
        ConstrainedEngineFloat32,
        ConstrainedEngineInt8,
    )
}
"""All alternatives by name, in the order of the tables."""
