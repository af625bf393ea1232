"""A bank. Each message has a database session, which is committed on success and rolled back on errors.

Flask-SQLAlchemy's ``db.session`` belongs to the application context, and thus to one message. You only need
to add the three hooks below.
"""

from flask import Flask, abort
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CheckConstraint
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_wamp import ApplicationError, FlaskWAMP


class Base(DeclarativeBase):
    pass


app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.example.bank"
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///bank.db"
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=..., FLASK_SQLALCHEMY_DATABASE_URI=...
db = SQLAlchemy(app, model_class=Base)
wamp = FlaskWAMP(app)


@wamp.before_dispatch
def begin(message):
    db.session.begin()


@wamp.after_dispatch
def commit(message, result):
    """Commit before the answer is sent. If that fails, the caller gets the error."""
    try:
        db.session.commit()
    except IntegrityError as error:
        raise refuse(error) from error
    return result


@wamp.teardown_dispatch
def roll_back(message, error):
    """Roll back what was not committed. The session itself ends with the application context."""
    db.session.rollback()


@wamp.errorhandler(IntegrityError)
def refuse(error):
    return ApplicationError("com.example.bank.error.refused", str(error.orig))


class Account(db.Model):
    name: Mapped[str] = mapped_column(primary_key=True)
    cents: Mapped[int] = mapped_column(CheckConstraint("cents >= 0"), default=0)


with app.app_context():
    db.create_all()


def find(name: str) -> Account:
    account = db.session.get(Account, name, with_for_update=True)
    return account or abort(404, f"There is no account {name!r}.")


@wamp.callee(".open")
def open_account(name: str) -> None:
    db.session.add(Account(name=name))


@wamp.subscriber(".payday")
@wamp.callee
def pay(names: list[str], cents: int) -> int:
    """Pay all of them, or none if one of them has no account."""
    for name in sorted(names):  # always locks in the same order
        find(name).cents += cents
    return len(names)


@wamp.callee
def withdraw(name: str, cents: int) -> None:
    find(name).cents -= cents  # the database checks the balance when it commits


@app.get("/accounts")
@wamp.callee
def accounts() -> dict[str, int]:
    found = db.session.execute(db.select(Account).order_by(Account.name)).scalars()
    return {account.name: account.cents for account in found}
