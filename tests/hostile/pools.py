# expect: status=OK alive=yes stdout="[1, 2]\n[8, 9]\n"
import concurrent.futures
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
with concurrent.futures.ProcessPoolExecutor(2) as pool:
    print(list(pool.map(pow, [2, 3], [3, 2])))
