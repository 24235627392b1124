"""Write a secret of AWS's parameter store to a file that only its owner can read.

`python fetch_parameter.py NAME FILE`; called by start-node.sh on EC2, with the node's own role. The value is never printed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def fetch(name: str, file: Path) -> None:
    """Write parameter `name` to `file` (mode 0600, folder 0700). Raises SystemExit with one sentence if it cannot be read."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(
            f"parameter {name} cannot be read ({error}); check the node's role, AWS_DEFAULT_REGION and that the parameter exists"
        ) from None
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(answer["Parameter"]["Value"])


if __name__ == "__main__":
    fetch(sys.argv[1], Path(sys.argv[2]))
