"""`python -m eqr_ray` is the command `eqr-ray`."""

from eqr_ray.cli import main

if __name__ == "__main__":
    main()
