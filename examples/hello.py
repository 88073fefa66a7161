"""The smallest whole program: a task, a job, its result.

In one terminal, here in this directory:      faena worker --app hello:app
In another:                                   python hello.py
"""

from faena import Context, Faena

app = Faena()


@app.task(max_retries=3)
async def greet(ctx: Context, name: str, times: int = 1) -> dict[str, str]:
    for number in range(times):
        ctx.progress(100 * number / times, f"greeting {number + 1} of {times}")
    ctx.emit("greeted", {"name": name})
    return {"greeting": f"Hello, {name}!"}


if __name__ == "__main__":
    job = greet.enqueue(name="world", times=3)
    print(f"job {job.id} is {job.status}")
    print(job.wait(timeout=60)["greeting"])
