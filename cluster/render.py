"""Write the files for `ray up` and KubeRay from the outputs of terraform/aws, so that no name is typed twice.

    terraform -chdir=terraform/aws output -json > outputs.json
    python cluster/render.py --outputs outputs.json --tag 1 --out build

Needs `ray`, `jinja2` and PyYAML, which the package brings. Invariants, asserted in tests/clusters: every output that a template reads is
an output of terraform/aws; a missing one is one sentence; what is written is YAML that Ray, EC2 and KubeRay accept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jinja2
import yaml

HERE = Path(__file__).resolve().parent


class RenderError(ValueError):
    """The outputs cannot be used; one sentence."""


def read_outputs(path: Path) -> dict[str, object]:
    """Return the values of `terraform output -json`. Raises RenderError."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RenderError(
            f"{path}: cannot be read ({error}); write it with `terraform -chdir=terraform/aws output -json`"
        ) from None
    if (
        not isinstance(raw, dict)
        or not all(isinstance(item, dict) and "value" in item for item in raw.values())
        or not raw
    ):
        raise RenderError(
            f"{path}: these are no outputs of terraform/aws; run `terraform apply` there first, then `output -json`"
        )
    return {name: item["value"] for name, item in raw.items()}


def render(outputs: Mapping[str, object], tag: str, ssh_key: str, tls_parameter: str | None, out: Path) -> list[Path]:
    """Write the files that the outputs allow to the folder `out` and return them. Raises RenderError."""
    parts = [("ray", "aws", "ssh_public_key"), ("kubernetes", "kuberay", "eks")]
    if not any(outputs.get(output) for output, _, _ in parts):
        raise RenderError(
            "there is no cluster in these outputs; set ssh_public_key (for `ray up`) or eks = true and apply again"
        )
    tls_setting = f" EQR_TLS_PARAMETER={tls_parameter}" if tls_parameter else ""
    written = []
    for output, folder, _ in parts:
        if not outputs.get(output):
            continue
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / folder), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
        )
        for template in sorted((HERE / folder).glob("*.yaml.j2")):
            file = out / folder / template.name.removesuffix(".j2")
            values = {
                **outputs,
                "tag": tag,
                "ssh_key": ssh_key,
                "tls_setting": tls_setting,
                "ray_version": version("ray"),
                "file": file.as_posix(),
            }
            try:
                text = environment.get_template(template.name).render(values)
                list(yaml.safe_load_all(text))
            except jinja2.UndefinedError as error:
                raise RenderError(
                    f"{template.name}: {error}; the outputs are of another version of terraform/aws, apply again"
                ) from None
            except yaml.YAMLError as error:
                raise RenderError(f"{template.name}: the outputs do not make YAML of it ({error})") from None
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            written.append(file)
    return written


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Write the cluster files from the outputs of terraform/aws.")
    parser.add_argument("--outputs", type=Path, required=True, help="what `terraform output -json` printed")
    parser.add_argument("--tag", required=True, help="tag of the pushed images, without -cpu and -cuda")
    parser.add_argument("--ssh-key", default="~/.ssh/eqr-ray", help="private half of ssh_public_key")
    parser.add_argument(
        "--tls-parameter", help="parameter with the authority of TLS between nodes; see docs/security.md"
    )
    parser.add_argument("--out", type=Path, default=Path("build/cluster"))
    given = parser.parse_args()
    try:
        written = render(read_outputs(given.outputs), given.tag, given.ssh_key, given.tls_parameter, given.out)
    except RenderError as problem:
        print(f"render.py: {problem}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(str(file) for file in written))


if __name__ == "__main__":
    main()
