"""Errors: the tree that callers rely on, and sentences that say what to do next."""

import pickle

import pytest

from vault import errors


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (errors.InvalidName, errors.Invalid),
        (errors.InvalidToken, errors.Invalid),
        (errors.InvalidValue, errors.Invalid),
        (errors.InvalidRecipient, errors.Invalid),
        (errors.UnknownAsset, errors.NotFound),
        (errors.NameCollision, errors.Conflict),
        (errors.WrongIdentity, errors.DecryptError),
        (errors.TamperedEnvelope, errors.DecryptError),
        (errors.UnsupportedEnvelope, errors.DecryptError),
        (errors.IdentityFileError, errors.VaultError),
    ],
)
def test_a_caller_catches_the_middle_of_the_tree(error: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(error, parent)
    assert issubclass(parent, errors.VaultError)


def test_the_tree_in_the_docstring_names_every_error() -> None:
    classes = [name for name, it in vars(errors).items() if isinstance(it, type)]
    assert errors.__doc__ is not None
    assert [name for name in classes if name not in errors.__doc__] == []


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownAsset("SAP.PASSWORD", "bot invoices"),
        errors.NameCollision("KLANGO_X", "A.B", "C.D"),
        errors.InvalidToken("It is wrong: write it right.", "{{ASSET."),
    ],
)
def test_an_error_keeps_its_sentence_and_attributes_when_it_is_pickled(error: errors.VaultError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_an_unknown_asset_names_itself_and_the_command() -> None:
    message = str(errors.UnknownAsset("SAP.PASSWORD", "bot invoices"))
    assert "SAP.PASSWORD does not exist in bot invoices" in message
    assert "botkeep asset set SAP.PASSWORD" in message
