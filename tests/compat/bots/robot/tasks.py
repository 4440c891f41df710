import hashlib

from robocorp import vault, workitems
from robocorp.tasks import task


@task
def producer():
    account = vault.get_secret("shop")
    print("digest", hashlib.sha256(account["password"].encode()).hexdigest())
    print("the password is", account["password"])
    for item in workitems.inputs:
        for number in item.payload["numbers"] if item.payload else [1]:
            workitems.outputs.create(
                payload={"number": number, "seen": account["password"]}, files=None, save=False
            ).add_file(__file__, name="tasks.py")
            workitems.outputs.last.save()
        item.done()


@task
def consumer():
    secret = vault.get_secret("sessions")
    secret["token"] = "token-of-the-consumer"
    vault.set_secret(secret)
    assert vault.get_secret("sessions")["token"] == "token-of-the-consumer"
    made = vault.create_secret("made_here", {"key": "value-of-the-consumer"})
    assert vault.get_secret("made_here")["key"] == "value-of-the-consumer", made
    for item in workitems.inputs:
        with item:
            content = item.get_file("tasks.py").read_bytes()
            assert b"def consumer" in content
            item.payload["checked"] = True
            item.save()
            if item.payload["number"] == 2:
                raise workitems.BusinessException(code="TWO", message="Two is not sold here.")
