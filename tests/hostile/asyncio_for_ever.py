# expect: status=TIMEOUT_ERROR alive=yes timeout=0.3
import asyncio
async def forever():
    while True:
        await asyncio.sleep(0.01)
asyncio.run(forever())
