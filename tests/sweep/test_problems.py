"""What is wrong with a file is said all at once, each at its place."""

import pytest

from tests.sweep.marks import HEAD, SPARSE, without_marks

UNKNOWN = [
    (HEAD + "§nmae: x\n", ["nmae is not a key. Did you mean 'name'?"]),
    (HEAD + "§zip: []\n", ["zip is not a key. 'zip' belongs in sweep."]),
    (HEAD + "§primary: {}\n", ["primary is not a key. 'primary' belongs in report."]),
    (
        HEAD + "§zzz: {}\n",
        ["zzz is not a key. Allowed: schema, name, question, expected, extends, base, sweep, report."],
    ),
    (HEAD + "§grid: {}\n", ["grid is not a key. 'grid' belongs in sweep."]),
    (HEAD + "§learning_rate: 1\n", ["learning_rate is not a key. 'learning_rate' belongs in base.train."]),
    (HEAD + "§learnin_rate: 1\n", ["learnin_rate is not a key. Did you mean 'learning_rate' in base.train?"]),
    (HEAD + "base: {§modle: {}}\n", ["base.modle is not a field. Did you mean 'model'?"]),
    (HEAD + "base: {§ffn: {}}\n", ["base.ffn is not a field. 'ffn' belongs in model."]),
    (HEAD + "base: {§seed: 1}\n", ["base.seed is not a field. Did you mean 'seeds' in sweep?"]),
    (HEAD + "base: {§name: 1}\n", ["base.name is not a field. 'name' belongs at the top of the file, not indented."]),
    (HEAD + "base: {§train.tokens: 1}\n", ["base.train.tokens is not a field. 'tokens' belongs in train."]),
    (
        HEAD + "base:\n  model:\n    §num_experts: 8\n",
        ["model.num_experts is not a field. 'num_experts' belongs in model.ffn."],
    ),
    (HEAD + "base: {model: {§hidden: 8}}\n", ["model.hidden is not a field. Allowed: size, d_model"]),
    (
        SPARSE.replace("sparse", "sparse, §capacty_factor: 1"),
        ["model.ffn.capacty_factor is not a field. Did you mean 'capacity_factor'?"],
    ),
    (SPARSE + "sweep: {§grd: {}}\n", ["sweep.grd is not a key. Did you mean 'grid'?"]),
    (
        SPARSE + "sweep: {§xyz: {}}\n",
        ["sweep.xyz is not a key. Allowed: grid, zip, derive, constraints, seeds, tune, tune_seeds, baselines."],
    ),
    (
        SPARSE
        + "sweep:\n  grid:\n    §model.ffn.num_expert: [1]\n    §num_experts: [2]\n    §base.train.tokens: [2]\n",
        [
            "model.ffn.num_expert is not a field. Did you mean 'model.ffn.num_experts'?",
            "num_experts is not a field. Did you mean 'model.ffn.num_experts'?",
            "base.train.tokens is not a field. Did you mean 'train.tokens'?",
        ],
    ),
    (
        SPARSE + "sweep:\n  grid:\n    §model.ffn: [1]\n    §zzz: [1]\n    §seed: [1]\n",
        [
            "model.ffn is not a field. It is a section; name one of its fields, such as model.ffn.kind.",
            "zzz is not a field. An axis is the dotted path of a field, such as model.ffn.num_experts.",
            "seed is not a field. An axis is the dotted path of a field",
        ],
    ),
]

WRONG_VALUES = [
    (
        "schema: §2\nname: §a/b\nquestion: §1\nexpected: §[]\n",
        [
            "schema must be 1, the one version",
            "name must be 1 to 80 letters",
            "question must be text",
            "expected must be text",
        ],
    ),
    ("schema: §true\nname: §.x\n", ["schema must be 1", "name must be"]),
    ("schema: §'1'\nname: §2024\n", ["got the text '1'; a number", "name must be text (in quotes"]),
    ("schema: 1.0\nname: §Reference\n", ["name 'Reference' is reserved"]),
    (f"schema: 1\nname: §{'x' * 81}\n", ["name must be"]),
    (
        HEAD + "§base:\nsweep: §[]\n",
        ["base must be a mapping (data, model, train), got nothing", "sweep must be a mapping"],
    ),
    (HEAD + "base: {data: §3, §train: }\n", ["data must be a mapping (corpus,", "train must be a mapping (tokens,"]),
    (
        HEAD + "base: {data: {corpus: §wikitext, path: §3, seq_len: §1}}\n",
        [
            "data.corpus must be 'python-stdlib', 'text', 'zipf-markov', 'hf' or 'hf:NAME', such as ",
            "data.path must be text, or null, got 3",
            "data.seq_len must be at least 2, got 1",
        ],
    ),
    (
        HEAD + "base: {model: {size: §big, d_model: §yes, d_head: §3, tied_output: §yes, num_layers: §2.5}}\n",
        [
            "model.size must be 'xxs', 'xs', 's', 'm' or 'l', or null, got the text 'big'",
            "model.d_model must be a whole number, got the text 'yes'",
            "model.d_head must be a multiple of 2, got 3",
            "model.tied_output must be true or false, got the text 'yes'",
            "model.num_layers must be a whole number, got 2.5",
        ],
    ),
    (HEAD + "base: {model: {size: §[xxs], tied_output: §1}}\n", ["got a list", "must be true or false, got 1"]),
    (
        HEAD + "base: {model: {ffn: {kind: §spares, activation: §rleu}}}\n",
        ["must be 'dense' or 'sparse', got the text 'spares'. Did you mean 'sparse'?", "Did you mean 'relu'?"],
    ),
    (
        HEAD + "base:\n  train:\n    tokens: §3_200_000\n    batch_tokens: §'4096'\n    learning_rate: §0\n"
        "    warmup_fraction: §0.8\n    betas: §[0.9]\n    anneal_at: [0.5, §x, 1]\n"
        "    eval_points: §{}\n    §weight_decay:\n",
        [
            "train.tokens must be a whole number, got the text '3_200_000'; write the digits without separators",
            "train.batch_tokens must be a whole number, got the text '4096'; a number stands without quotes",
            "train.learning_rate must be above 0, got 0",
            "train.warmup_fraction must be below 0.8, got 0.8",
            "train.betas must have 2 values, got 1 value",
            "train.anneal_at: value 2 must be a number, got the text 'x'",
            "train.eval_points must be a whole number, got a mapping",
            "train.weight_decay must be a number, got nothing (null)",
        ],
    ),
    (
        HEAD + "base: {train: {tokens: §1e300, betas: §[1, 0.9], anneal_at: §[1, 0.5], adam_epsilon: §true}}\n",
        [
            "train.tokens must be a whole number of at most 19 digits, got 1e300",
            "train.betas needs two numbers in [0, 1), got [1.0, 0.9]",
            "train.anneal_at needs ascending fractions in (0, 1] that end with 1.0, got [1.0, 0.5]",
            "train.adam_epsilon must be a number, got true",
        ],
    ),
    (
        HEAD + f"base: {{train: {{tokens: §{'9' * 5000}, learning_rate: §.nan, "
        "weight_decay: §-.INF, eval_points: §1e999}}\n",
        ["is too large a number", ".nan is not a finite number", "-.INF is not a finite", "1e999 is not a finite"],
    ),
    (
        HEAD + "sweep: {grid: {train.tokens: §3, train.eval_points: §[], train.anneal_at: §[1.0]}, seeds: §3}\n",
        [
            "train.tokens: an axis must be a list of values, such as [1, 2], got 3",
            "train.eval_points: an axis must have at least one value",
            "train.anneal_at is a list of numbers, so its axis is a list of lists",
            "sweep.seeds: it must be a list of values, such as [0, 1, 2], got 3",
        ],
    ),
    (
        HEAD + "sweep: {grid: {train.learning_rate: [1, §1.0, §-1, §[2], 2, §2e0]}, "
        "seeds: [0, 1, §0, §-1, §0.5, §a, §true]}\n",
        [
            "train.learning_rate has the value 1.0 twice",
            "train.learning_rate must be above 0, got -1",
            "train.learning_rate must be a number, got a list",
            "train.learning_rate has the value 2e0 twice",
            "sweep.seeds has the seed 0 twice",
            "sweep.seeds: a seed must be at least 0, got -1",
            "sweep.seeds: a seed must be a whole number, got 0.5",
            "got the text 'a'",
            "got true",
        ],
    ),
    (HEAD + "sweep: {grid: {train.anneal_at: [[1], §[1.0]]}, seeds: [§2147483648]}\n", ["twice", "below 2147483648"]),
    (
        HEAD + "sweep: {§grid: , seeds: §[], baselines: §iso_flop}\n",
        ["a mapping of axes", "at least one", "a list of values"],
    ),
    (
        SPARSE + "sweep: {baselines: [§iso_flops, iso_flop, §iso_flop, §1, §[]]}\n",
        [
            "is not a baseline; allowed: iso_flop, iso_active_params, iso_total_params. Did you mean 'iso_flop'?",
            "sweep.baselines has 'iso_flop' twice",
            "1 is not a baseline",
            "a list is not a baseline",
        ],
    ),
    (
        SPARSE + "sweep: {baselines: [iso_flop, §iso_time]}\n",
        ["'iso_time' is not a baseline to train, since a measured time must not change what a run is: the report"],
    ),
]

WRONG_TOGETHER = [
    (
        HEAD + "base: {model: {ffn: {§num_experts: 8}}}\nsweep: {grid: {§model.ffn.capacity_factor: [1, 2]}}\n",
        [
            "model.ffn.num_experts is a field of sparse FFNs alone, and model.ffn.kind is by default 'dense'. "
            "Set model.ffn.kind to 'sparse', or put it on an axis",
            "model.ffn.capacity_factor is a field of sparse FFNs alone",
        ],
    ),
    (HEAD + "base: {model: {ffn: {kind: dense, §router: switch}}}\n", ["and model.ffn.kind is 'dense'. Set"]),
    (
        HEAD + "base: {model: {ffn: {§num_experts: 8}}}\nsweep: {grid: {model.ffn.kind: [dense]}}\n",
        ["model.ffn.num_experts is a field of sparse FFNs alone"],
    ),
    (HEAD + "sweep: {baselines: [§iso_flop]}\n", ["this sweep has none"]),
    (HEAD + "base: {data: {corpus: §text}}\n", ["data: corpus 'text' needs `path`"]),
    (
        HEAD + "base: {data: {path: §texts}}\n",
        ["data: `path` goes with corpus 'text' or 'hf', not with 'python-stdlib'"],
    ),
    (
        HEAD + "base: {data: {seq_len: §100}}\n",
        ["train.batch_tokens 4096 is not a multiple of data.seq_len 100"],
    ),
    (
        HEAD + "base: {data: {seq_len: 128}, train: {batch_tokens: 100}}\n"
        "sweep: {grid: {train.batch_tokens: [128, §100]}}\n",
        ["train.batch_tokens 100 is not a multiple of data.seq_len 128"],
    ),
    (
        HEAD + "sweep: {grid: {train.learning_rate: [1, 2], data.seq_len: [64, §100, §200], model.size: [xs, s]}}\n",
        ["is not a multiple of data.seq_len 100", "is not a multiple of data.seq_len 200"],
    ),
    (
        HEAD + "base: {train: {tokens: §4096}}\n",
        ["train: tokens 4096 are only 1 step of batch_tokens 4096: too few to tell the annealed points"],
    ),
    (
        HEAD + "base: {train: {tokens: 4e3}}\nsweep: {grid: {train.tokens: [1e5, §5e3]}}\n",
        ["tokens 5000 are only 2 steps"],
    ),
    (
        HEAD + "base: {train: {tokens: §5e3, batch_tokens: §4000}}\n",
        ["tokens 5000 are only 2 steps", "train.batch_tokens 4000 is not a multiple of data.seq_len 128"],
    ),
    (
        HEAD + "base: {model: {ffn: {kind: sparse, switch_layer_frequency: §0.1}}}\n",
        ["model: switch_layer_frequency 0.1 makes no layer of num_layers 4 sparse"],
    ),
    (HEAD + "base: {model: {num_layers: §1, ffn: {kind: sparse}}}\n", ["makes no layer of num_layers 1 sparse"]),
    (SPARSE + "sweep: {grid: {model.num_layers: [2, §1]}}\n", ["makes no layer of num_layers 1 sparse"]),
    (
        HEAD + "base: {model: {ffn: {kind: sparse, routing_group_tokens: §100}}}\n",
        ["model.ffn.routing_group_tokens 100 must be a multiple of data.seq_len 128"],
    ),
    (
        HEAD + "sweep: {grid: {model.size: [xxs, §null]}}\n",
        ["model.size: the text 'xxs' and nothing (null) describe the same run"],
    ),
    (
        HEAD
        + "base: {model: {d_model: 8, num_layers: 2, num_heads: 2, d_head: 4}}\nsweep: {grid: {model.size: [s, §m]}}\n",
        ["model.size: the text 's' and the text 'm' describe the same run"],
    ),
]

NOT_EVEN_YAML = [
    ("a: [1, 2\nb§: 3\n", ["not valid YAML: expected ',' or ']'"]),
    (HEAD + "base:\n§\ttrain: {}\n", ["not valid YAML: a tab, where only spaces may stand"]),
    (HEAD + "question: Why§: how\n", ["text with a colon in it needs quotes"]),
    (HEAD + "base:\n  data: {}\n   §model: {}\n", ["not valid YAML: "]),
    (HEAD + "question: §@x\n", ["not valid YAML: found character '@'"]),
    ('schema: 1\n§name: "\\UFFFFFFFF"\n', ["not valid YAML after this point"]),
    (HEAD + "question: a§\0b\n", ["the character U+0000 is not allowed in a sweep file"]),
    (HEAD + 'question: §"\\0"\n', ["the character U+0000 is not allowed in a sweep file"]),
    (HEAD + 'question: §"\\ud800"\n', ["the character U+D800 is not allowed in a sweep file"]),
    ("name: x\n§name: y\nschema: 1\n", ["duplicate key 'name'; it was first given at line 1, column 1"]),
    (
        HEAD + "sweep:\n  grid: {train.tokens: [1e6], §train.tokens: [1e5]}\n",
        ["duplicate key 'train.tokens'; it was first given at line 4, column 10"],
    ),
    (HEAD + "base: §&a {data: §&b {}}\n", ["anchors are not supported; remove &a", "remove &b"]),
    (HEAD + "base: {data: §*a}\n", ["aliases are not supported; write the value of *a out"]),
    (HEAD + "base: {§<<: {data: {}}}\n", ["merge keys are not supported"]),
    (HEAD + "question: §!!str 1\n", ["tags are not supported; remove tag:yaml.org,2002:str"]),
    (HEAD + "§1: a\n? §[b]\n: c\n§null: d\n", ["text on one line, got 1", "got a list", "got nothing"]),
    (HEAD + '§"a\\nb": 1\n', ["a key must be text on one line, got the text 'a\\nb'"]),
    ("--- {schema: 1, name: x}\n§---\n", ["a second document begins here"]),
    ("%YAML 1.1\n§---\nschema: 1\nname: x\n", ["sweep files are YAML 1.2"]),
    (
        "§- a\n",
        ["a sweep file must be a mapping (schema, name, question, expected, extends, base, sweep, report), got a list"],
    ),
    ("§42", ["a sweep file must be a mapping (schema, name, question, expected, extends, base, sweep, report), got"]),
    ("[" * 20 + "§" + "[" * 5000, ["nested more than 20 levels deep"]),
    ("? " * 20 + "§" + "? " * 200, ["nested more than 20 levels deep"]),
]


@pytest.mark.parametrize(("text", "messages"), UNKNOWN + WRONG_VALUES + WRONG_TOGETHER + NOT_EVEN_YAML)
def test_problem(problems_of, text, messages):
    text, places = without_marks(text)
    problems = problems_of(text)
    assert [(problem.line, problem.column) for problem in problems] == places
    for problem, message in zip(problems, messages, strict=True):
        assert message in problem.message
        assert problem.file == "sweep.yaml"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["is empty; a sweep file has at least the keys schema and name"]),
        ("# nothing\n", ["is empty"]),
        ("{}", ["the key `name` is missing", "the key `schema: 1` is missing"]),
    ],
)
def test_problem_of_the_whole_file(problems_of, text, messages):
    problems = problems_of(text)
    assert [problem.line for problem in problems] == [None] * len(messages)
    for problem, message in zip(problems, messages, strict=True):
        assert message in problem.message


def test_the_message_of_the_design(problems_of):
    text = SPARSE.replace("kind: sparse", "kind: sparse, capacty_factor: 1.25")
    assert str(problems_of(text)[0]) == (
        "sweep.yaml:3:36: model.ffn.capacty_factor is not a field. Did you mean 'capacity_factor'?\n"
        "    base: {model: {ffn: {kind: sparse, capacty_factor: 1.25}}}\n"
        "                                       ^"
    )


def test_nothing_is_said_about_what_follows_from_another_problem(problems_of):
    # seq_len 100 does not divide the default batch, but the file means to give another batch.
    text = HEAD + "base: {data: {seq_len: 100}, train: {batch_tokns: 1000}}\n"
    assert [problem.message[:18] for problem in problems_of(text)] == ["train.batch_tokns "]
    # The kind is misspelt, so nobody knows whether num_experts belongs.
    text = HEAD + "base: {model: {ffn: {knid: sparse, num_experts: 8}}}\n"
    assert [problem.message[:15] for problem in problems_of(text)] == ["model.ffn.knid "]


def test_the_caret_stands_under_the_place_and_the_terminal_is_safe(problems_of):
    (problem,) = problems_of('{schema: 1, name: x, question: "a\tbé", nmae: 1}\n')
    assert str(problem).count("\n") == 2
    shown = str(problem).split("\n")
    assert shown[1][shown[2].index("^") :].startswith("nmae")
    assert "\t" not in str(problem)
