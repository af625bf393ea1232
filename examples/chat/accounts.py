"""Register, log in and log out: ordinary views, with CSRF tokens by Flask-WTF.

The views contain no WAMP code. The browser joins as Flask-Login's ``current_user``, and ``logout_user`` ends
the WAMP sessions of that login, in all tabs.
"""

from __future__ import annotations

import unicodedata

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_login import login_required, login_user, logout_user
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length, Regexp

from .chat import announce, tell_everyone
from .extensions import db, login_manager, wamp
from .models import FIRST_ROOM, Logouts, Room, User

accounts = Blueprint("accounts", __name__)
login_manager.login_view = "accounts.login"
login_manager.login_message = None
wamp.remember_logouts(Logouts())


def tidy(name: str | None) -> str:
    """Replace wide letters in a name, and remove extra spaces, because two such names could look the same."""
    return " ".join(unicodedata.normalize("NFKC", name or "").split())


class LoginForm(FlaskForm):
    name = StringField("Name", [InputRequired(), Length(max=60)], filters=[tidy])
    password = PasswordField("Password", [InputRequired(), Length(max=128)])


class RegisterForm(FlaskForm):
    name = StringField(
        "Name",
        [
            InputRequired(),
            Length(2, 30, "A name has 2 to 30 characters."),
            Regexp(r"\w[\w .'-]*$", message="Use letters, digits, spaces and . ' - _ only."),
        ],
        filters=[tidy],
    )
    password = PasswordField(
        "Password",
        [InputRequired(), Length(8, 128, "Use at least 8 and at most 128 characters.")],
    )


@accounts.route("/register", methods=["GET", "POST"])
def register() -> str | Response:
    form = RegisterForm()
    if form.validate_on_submit():
        if user := create_user(form.name.data, form.password.data):
            login_user(user)
            return redirect(url_for("index"))
        form.name.errors = ["Somebody else has this name already."]
    return render_template("account.html", form=form, is_new=True)


@accounts.route("/login", methods=["GET", "POST"])
def login() -> str | Response:
    form = LoginForm()
    if form.validate_on_submit():
        user = User.find(form.name.data)
        if user is not None and user.has_password(form.password.data):
            login_user(user)
            return redirect(url_for("index"))
        form.password.errors = ["The name or the password is wrong."]
    return render_template("account.html", form=form, is_new=False)


@accounts.post("/logout")
@login_required
def logout() -> Response:
    logout_user()
    flash("You have logged out.")
    return redirect(url_for("accounts.login"))


@accounts.app_errorhandler(CSRFError)
def refuse_form(error: CSRFError) -> Response:
    flash("This page was too old. Please try again.")
    return redirect(url_for("accounts.login"))


def create_user(name: str, password: str) -> User | None:
    """Create a user, who is in the first room. Return None if the name is taken."""
    room = Room.public(FIRST_ROOM)
    user = User(name=name)
    user.set_password(password)
    try:
        db.session.add(user)
        db.session.flush()
        room.add(user.id)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        return None
    tell_everyone("person", person=user.to_dict())
    announce(room)
    return user
