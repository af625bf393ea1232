"""Databases in tests with ``inline=True``, by the recipes of Flask-SQLAlchemy."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, FlaskWAMP

sa = pytest.importorskip("sqlalchemy")
flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")


class Project(t.NamedTuple):
    app: Flask
    wamp: FlaskWAMP
    db: t.Any
    Item: t.Any


def make_project(**config: t.Any) -> Project:
    app = Flask("shop")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop", **config)
    wamp, db = FlaskWAMP(app), flask_sqlalchemy.SQLAlchemy(app)

    class Item(db.Model):  # type: ignore[name-defined, misc]
        name = sa.Column(sa.String, primary_key=True)

    def names() -> list[str]:
        return sorted(db.session.scalars(sa.select(Item.name)))

    @wamp.callee(".names")
    def get_names() -> list[str]:
        return names()

    @wamp.callee(".add")
    def add(name: str) -> list[str]:
        db.session.add(Item(name=name))
        db.session.commit()
        g.wampy.with_options(exclude_me=False).publish(".added", name)
        return t.cast("list[str]", g.wampy.call(".names"))

    @wamp.callee(".add_in_vain")
    def add_in_vain(name: str) -> None:
        db.session.add(Item(name=name))
        db.session.flush()
        raise ZeroDivisionError

    @wamp.subscriber(".added")
    def added(name: str) -> None:
        db.session.add(Item(name=f"{name} was added"))
        db.session.commit()

    @app.post("/add/<name>")
    def view(name: str) -> dict[str, t.Any]:
        db.session.add(Item(name=name))
        db.session.commit()
        return {"names": g.wampy.call(".names")}

    return Project(app, wamp, db, Item)


def test_handlers_see_objects_of_the_test() -> None:
    project = make_project(SQLALCHEMY_DATABASE_URI="sqlite:///:memory:")
    with project.app.app_context():
        assert isinstance(project.db.engine.pool, sa.pool.StaticPool)
        project.db.create_all()
        project.db.session.add(project.Item(name="tea"))
        project.db.session.commit()
        with project.wamp.test_client(inline=True) as peer:
            assert peer.call(".names") == ["tea"]
            assert peer.call(".add", "jam") == ["jam", "jam was added", "tea"]
            assert project.db.session.get(project.Item, "jam") is not None
            answer = project.app.test_client().post("/add/milk").json
            assert answer == {"names": ["jam", "jam was added", "milk", "tea"]}
            with pytest.raises(ApplicationError, match="ZeroDivisionError"):
                peer.call(".add_in_vain", "salt")
            assert "salt" not in peer.call(".names")
        project.db.session.remove()
        project.db.engine.dispose()


def test_a_database_in_memory_that_belongs_to_one_thread() -> None:
    """Without StaticPool each thread has its own database, which is SQLAlchemy's default."""
    app = Flask("shop")
    app.config.update(TESTING=True)
    wamp, engine = FlaskWAMP(app), sa.create_engine("sqlite:///:memory:")
    assert isinstance(engine.pool, sa.pool.SingletonThreadPool)
    session = sa.orm.scoped_session(sa.orm.sessionmaker(engine))
    app.teardown_appcontext(lambda error: session.remove())

    @wamp.callee("com.shop.names")
    def names() -> list[str]:
        return list(session.scalars(sa.text("SELECT name FROM item")))

    session.execute(sa.text("CREATE TABLE item (name TEXT)"))
    session.execute(sa.text("INSERT INTO item VALUES ('tea')"))
    session.commit()
    with wamp.test_client(inline=True) as peer:
        assert peer.call("com.shop.names") == ["tea"]
    session.remove()
    engine.dispose()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Project]:
    file = tmp_path_factory.mktemp("db") / "shop.sqlite"
    project = make_project(SQLALCHEMY_DATABASE_URI=f"sqlite:///{file}")
    with project.app.app_context():
        engine = project.db.engine
        project.db.create_all()

    # SAVEPOINT works in SQLite only if SQLAlchemy begins its transactions itself, see its documentation.
    @sa.event.listens_for(engine, "connect")
    def leave_transactions_alone(connection: t.Any, record: object) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: t.Any) -> None:
        connection.exec_driver_sql("BEGIN")

    engine.dispose()
    yield project
    with project.app.app_context():
        project.db.engine.dispose()


@pytest.fixture
def in_transaction(project: Project) -> t.Iterator[Project]:
    """Roll back what a test writes: Flask-SQLAlchemy's recipe, pallets-eco/flask-sqlalchemy#1171."""
    with project.app.app_context():
        engines = project.db.engines
    cleanup = []
    for key, engine in engines.items():
        connection = engine.connect()
        transaction = connection.begin()
        engines[key] = connection
        cleanup.append((key, engine, connection, transaction))
    yield project
    for key, engine, connection, transaction in cleanup:
        transaction.rollback()
        connection.close()
        engines[key] = engine


@pytest.mark.parametrize("name", ["tea", "jam"])
def test_writes_of_the_test_and_of_handlers_are_rolled_back(
    in_transaction: Project, name: str
) -> None:
    app, wamp, db, Item = in_transaction
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Item)) == 0
        db.session.add(Item(name="of the test"))
        db.session.commit()
    with wamp.test_client(inline=True) as peer:
        assert peer.call(".add", name) == sorted([name, f"{name} was added", "of the test"])
        assert "milk" in app.test_client().post("/add/milk").json["names"]
        assert len(peer.call(".names")) == 4


def test_no_write_of_the_previous_test_remains(project: Project) -> None:
    with project.app.app_context():
        assert project.db.session.scalars(sa.select(project.Item)).all() == []


def test_a_session_that_has_joined_an_external_transaction(project: Project) -> None:
    """SQLAlchemy's recipe: all contexts use the session that the test creates."""
    app, wamp, db, Item = project
    with app.app_context(), db.engine.connect() as connection:
        transaction, before = connection.begin(), db.session
        make = sa.orm.sessionmaker(connection, join_transaction_mode="create_savepoint")
        db.session = sa.orm.scoped_session(make)
        try:
            with wamp.test_client(inline=True) as peer:
                db.session.add(Item(name="of the test"))
                db.session.commit()
                assert peer.call(".add", "tea") == ["of the test", "tea", "tea was added"]
        finally:
            db.session.remove()
            db.session = before
            transaction.rollback()
        assert db.session.scalars(sa.select(Item)).all() == []
