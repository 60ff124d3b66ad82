from __future__ import annotations

from pathlib import Path

import pytest

from dsc.errors import UsageError
from dsc.quantize.layers import find_layers
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy, PolicyRule, read_policy
from dsc.quantize.prepare import prepare
from dsc.quantize.scheme import StaticScheme
from tests.quantize.nets import CONVS, PRODUCTS

NETWORK = Network(prepare(CONVS.proto()))
LAYERS = find_layers(NETWORK)


def decided(*rules: PolicyRule) -> dict[str, str]:
    return {name: rule.keep for name, rule in Policy(rules).decisions(NETWORK, LAYERS).items()}


def test_rules_by_name_operator_and_region() -> None:
    assert decided(PolicyRule("float", names=("s*",))) == {"stem": "float", "side": "float"}
    assert set(decided(PolicyRule("int8", ops=("Conv",)))) == {"stem", "deep", "point", "side", "last"}
    assert decided(PolicyRule("float", ops=("Gemm",))) == {}
    assert set(decided(PolicyRule("float", between=("relu", "join")))) == {"deep"}
    assert set(decided(PolicyRule("float", between=("pool", "last")))) == {"point", "side", "last"}
    assert set(decided(PolicyRule("float", names=("p*", "l*"), between=("pool", "sum")))) == {"point"}


def test_half_precision_is_for_all_nodes() -> None:
    assert set(decided(PolicyRule("fp16", between=("relu", "pool")))) == {"relu", "deep", "join", "pool"}
    assert decided(PolicyRule("bf16", ops=("Add",)), PolicyRule("float", names=("s*",))) == {
        "sum": "bf16", "stem": "float", "side": "float",
    }  # fmt: skip
    with pytest.raises(UsageError, match="'stme'"):
        decided(PolicyRule("fp16", names=("stme",)))


def test_the_first_rule_that_fits_counts() -> None:
    rules = PolicyRule("int8", names=("stem",)), PolicyRule("float", ops=("Conv",))
    assert decided(*rules) == {"stem": "int8", "deep": "float", "point": "float", "side": "float", "last": "float"}


def test_an_attention_is_a_region() -> None:
    network = Network(prepare(PRODUCTS.proto()))
    found = Policy((PolicyRule("float", between=("scores", "mix")),)).decisions(network, find_layers(network))
    assert set(found) == {"scores", "mix"}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (PolicyRule("float", ops=("Softmax",)), "names Softmax, which is no operator that is quantized"),
        (PolicyRule("float", names=("stme",)), "'stme', and no layer is called so; near are stem"),
        (PolicyRule("float", between=("relo", "join")), "node 'relo', and there is none; near are relu"),
        (PolicyRule("float", between=("last", "stem")), "from last to stem, which does not depend on it"),
    ],
)
def test_unknown_names_suggest_near_ones(rule: PolicyRule, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        decided(rule)


def test_a_file(tmp_path: Path) -> None:
    (path := tmp_path / "policy.toml").write_text(
        """
        [scheme]
        activations = "int8"
        weight_bits = 7
        equalizes = true
        smoothing = "insert"
        rounding = "adaptive"
        [[rule]]
        keep = "float"
        names = ["stem", "l*"]
        [[rule]]
        keep = "int8"
        ops = ["Conv"]
        between = ["relu", "join"]
        """
    )
    assert read_policy(path) == Policy(
        (
            PolicyRule("float", names=("stem", "l*")),
            PolicyRule("int8", ops=("Conv",), between=("relu", "join")),
        ),
        StaticScheme(activations="int8", weight_bits=7, equalizes=True, smoothing="insert", rounding="adaptive"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]\n", "is no TOML"),
        ("[[rules]]\n", "no 'rules' in the file; is it rule"),
        ("[rule]\nkeep = 'float'", "double brackets"),
        ("[[rule]]\nkeep = 'int4'\nops = ['Conv']", "keep = 'int4' in a rule"),
        ("[[rule]]\nkeep = 'float'", "a rule needs ops, names or between"),
        ("[[rule]]\nkeep = 'float'\nname = ['a']", "no 'name' in a rule; is it names"),
        ("[[rule]]\nkeep = 'float'\nops = ['Softmox']", "Softmox is no operator of ONNX; near are Softmax"),
        ("[[rule]]\nkeep = 'float'\nnames = 'stem'", "names = 'stem' in a rule; expected a list"),
        ("[[rule]]\nkeep = 'float'\nbetween = ['a']", "expected two nodes"),
        ("[scheme]\nactivation = 'int8'", r"no 'activation' in \[scheme\]; is it activations"),
        ("[scheme]\nweight_bits = 4", "weight_bits = 4"),
        ("[scheme]\nsymmetric = 1", "symmetric = 1"),
        ("[scheme]\nsmoothing = true", "smoothing = True; it is one of"),
        ("[scheme]\nrounding = 'learned'", "rounding = 'learned'; it is one of"),
    ],
)
def test_a_file_with_mistakes(text: str, said: str, tmp_path: Path) -> None:
    (path := tmp_path / "policy.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_policy(path)


def test_no_file() -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_policy(Path("nowhere.toml"))
