"""The fleet without a file, and the file that says the same."""

import re

from msgspec import NODEFAULT, Struct, inspect
from msgspec.structs import replace

from baseload.config.default import default_fleet, init_text
from baseload.config.deploying import Cloud, Deploy, EngineDeploy
from baseload.config.fleet import Backend, Fleet, Target
from baseload.config.reading import parse_fleet
from baseload.config.wishes import fields, wish

CPU = {"cpu": Target(backend="cpu", model="smollm2-135m-instruct")}


def test_without_a_key():
    """Without DeepSeek's key, the embedded model answers under all three names, patiently."""
    fleet = default_fleet({"DEEPSEEK_API_KEY": ""})

    cpu = Backend(name="cpu", engine="llama.cpp", model="smollm2-135m-instruct")
    assert {"cpu": cpu} == fleet.backends
    names = ["smollm2-135m-instruct", "deepseek-chat", "deepseek-reasoner"]
    assert names == list(fleet.models)
    assert {60.0} == {model.first_token_s for model in fleet.models.values()}
    assert all(model.tiers == (CPU,) for model in fleet.models.values())


def test_with_a_key():
    """With the key, DeepSeek's API is in front of its own two models, the embedded one behind."""
    fleet = default_fleet({"DEEPSEEK_API_KEY": "k"})

    deepseek = Backend(
        name="deepseek", url="https://api.deepseek.com/v1", api_key="k", concurrency=500
    )
    assert deepseek == fleet.backends["deepseek"]
    for name, thinking in (("deepseek-chat", "disabled"), ("deepseek-reasoner", "enabled")):
        front = {"deepseek": Target(backend="deepseek", model="deepseek-flash", thinking=thinking)}
        assert (front, CPU) == fleet.models[name].tiers
    assert fleet.models["smollm2-135m-instruct"].tiers == (CPU,)


def test_init_text_says_what_no_file_says():
    """The written file is sound without any variable, and is the fleet that runs without it."""
    assert default_fleet({}) == parse_fleet(init_text(), "f", {})


def test_the_two_forms_differ_in_comment_signs_alone():
    """Whoever gets a key later turns one form into the other by moving comment signs."""

    def uncommented(text):
        return re.sub(r"^( *)# ", r"\1", text, flags=re.MULTILINE)

    assert init_text() != init_text(with_deepseek=True)
    assert uncommented(init_text()) == uncommented(init_text(with_deepseek=True))


def test_init_text_explains_every_field():
    """Every field of every struct is in the text, at least once with words beside it."""
    text = init_text()
    missing = []

    def look(kind: inspect.Type) -> None:
        inner = wish(kind).type
        if isinstance(inner, inspect.DictType):
            look(inner.value_type)
        elif isinstance(inner, inspect.VarTupleType):
            look(inner.item_type)
        elif isinstance(inner, inspect.StructType):
            for name, one in fields(inner).items():
                explained = re.search(rf"^[ #-]*{name}:( .*?)? {{1,}}# \w", text, re.MULTILINE)
                if not one.is_filled_in and not explained:
                    missing.append(f"{inner.cls.__name__}.{name}")
                look(one.type)

    look(inspect.type_info(Fleet))

    assert missing == []


def test_init_text_shows_true_defaults():
    """The settings that are commented out show the values that hold without them."""
    head, tail = init_text().split("# drain_s", 1)
    settings = re.sub(r"^# ", "", f"# drain_s{tail}", flags=re.MULTILINE)
    for part in ("tls", "keys", "prices", "deploy"):  # examples, which have no default
        settings = re.sub(rf"^{part}:.*\n(  .*\n)+", "", settings, flags=re.MULTILINE)
    settings = re.sub(r"^admin_token:.*\n", "", settings, flags=re.MULTILINE)

    fleet = parse_fleet(head + settings, "f", {})

    assert default_fleet({}) == fleet
    shown = set(re.findall(r"^(\w+):", settings, re.MULTILINE))
    optional = {
        one.encode_name for one in inspect.type_info(Fleet).fields if one.default is not NODEFAULT
    }
    examples = {"tls", "keys", "prices", "deploy", "admin_token"}
    assert optional - {"listen", "admin"} - examples == shown


def test_the_example_of_a_deployment_is_sound_and_shows_true_defaults():
    """Beside the backend that is its example, it can be read; defaults are true.

    Variables of alerts need not be set: a gateway has no use for them.
    """
    head, example = init_text().split("# deploy:", 1)
    url = "{url: http://gpu-1.example:8000/v1}\\n"
    both = f"  edge: {url}  rented: {url}"
    whole = re.sub(r"^(backends:.*\n)", rf"\1{both}", head, flags=re.MULTILINE)
    whole += re.sub(r"^# ", "", f"# deploy:{example}", flags=re.MULTILINE)
    deploy = parse_fleet(whole, "f", {}).deploy
    engine, cloud = deploy.engines["edge"], deploy.clouds["aws"]

    assert Deploy() == replace(
        deploy, engines={}, sites={}, clouds={}, monitoring=replace(
            deploy.monitoring, page=None, ticket=None, smtp=None
        ),
    )  # fmt: skip
    assert {
        "accelerator", "per_machine", "machines", "precision", "replicas", "replicas_max",
    } == _other(engine, EngineDeploy(model=engine.model, weights=engine.weights))  # fmt: skip
    assert {
        "standby", "standby_region", "instance", "replicas", "replicas_max", "quota", "zone", "bucket",
        "alarm_email", "state_bucket", "environments",
    } == _other(cloud, Cloud(engine=cloud.engine, region=cloud.region))  # fmt: skip


def _other(one: Struct, two: Struct) -> set[str]:
    """Give the fields in which two structs differ, but for their names."""
    names = set(one.__struct_fields__) - {"name"}
    return {name for name in names if getattr(one, name) != getattr(two, name)}
