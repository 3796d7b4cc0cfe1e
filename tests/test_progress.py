"""What long work says of how far it is."""

from socsci_jax.progress import progress


def test_an_end_that_is_reported_twice_is_one_line(capsys):
    with progress("predict", total=2) as shown:
        shown.update(0)
        shown.update(2)
        shown.update(2)
    assert capsys.readouterr().err == "predict: 2/2\n"
