# expect: status=OK alive=yes stdout="[3, 4]\n"
# Wants a sys.executable that is a Python, not the program we are embedded in.
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(abs, [-3, -4]))
