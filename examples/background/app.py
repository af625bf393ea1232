"""A kitchen that confirms an order at once and cooks after the answer."""

from itertools import count

from flask import Flask, g

from flask_wamp import FlaskWAMP, background_tasks

app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.example.kitchen"
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=...
wamp = FlaskWAMP(app)
numbers = count(1)


@app.post("/order/<dish>")
@wamp.callee
def order(dish: str) -> dict:
    number = next(numbers)
    background_tasks.add(cook, number, dish)
    background_tasks.add(count_calories, number, dish, executor="process")
    return {"order": number}


def cook(number: int, dish: str) -> None:
    """Run on a worker, in an application context of its own."""
    everybody = g.wampy.with_options(exclude_me=False)  # including on_ready below
    everybody.publish("com.example.kitchen.ready", number, dish)


def count_calories(number: int, dish: str) -> None:
    """Compute for a long time, in another process, which has a session of its own."""
    calories = len(dish) * sum(n % 7 for n in range(1_000_000)) // 10_000
    g.wampy.with_options(acknowledge=True).publish("com.example.kitchen.calories", number, calories)


@wamp.subscriber(".ready")
def on_ready(number: int, dish: str) -> None:
    print(f"Order {number} is ready: {dish}", flush=True)


@wamp.subscriber(".calories")
def on_calories(number: int, calories: int) -> None:
    print(f"Order {number} has {calories} calories", flush=True)
