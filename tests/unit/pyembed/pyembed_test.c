/* The parts of the embedded interpreter that need no session: start, imports, texts, memory. */
#include "service/pyembed/python.h"

#include <stdlib.h>
#include <string.h>

#include "service/base/buf.h"
#include "service/pyembed/arena.h"
#include "service/pyembed/compile.h"
#include "service/pyembed/pyembed.h"
#include "service/pyembed/text.h"
#include "tests/support/check.h"

/* CPython keeps what it has for the life of the process: not a leak of ours. */
const char *__lsan_default_suppressions(void); /* NOLINT(cert-dcl51-cpp): LSan's name */
const char *__lsan_default_suppressions(void)  /* NOLINT(cert-dcl51-cpp) */
{
    return "leak:libpython3\n";
}

static void test_arena_has_a_maximum(void)
{
    struct arena a;
    arena_init(&a, 100);
    CHECK(arena_alloc(&a, 101) == NULL);
    unsigned char *p = arena_alloc(&a, 60);
    CHECK(p != NULL && p[0] == 0 && p[59] == 0);
    CHECK(arena_alloc(&a, 41) == NULL);
    CHECK(arena_alloc(&a, 40) != NULL);
    CHECK(arena_alloc(&a, 1) == NULL);
    arena_release(&a);
    CHECK_STR(arena_copy(&a, "abc", 3), "abc");
    arena_release(&a);
}

static void check_text(PyObject *take_s, size_t max, const char *want)
{
    struct arena a;
    arena_init(&a, 4096);
    CHECK_STR(text_of(take_s, max, &a), want);
    Py_XDECREF(take_s);
    arena_release(&a);
}

static void test_texts_are_valid_and_bounded(void)
{
    check_text(PyUnicode_FromString("abc"), 3, "abc");
    check_text(PyUnicode_FromString("h\xC3\xA9\xF0\x9F\x98\x80"), 100, "h\xC3\xA9\xF0\x9F\x98\x80");
    const Py_UCS4 odd[] = {'a', 0, 0xD800, 'b'};
    check_text(PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, odd, 4), 100, "a\\x00\\ud800b");
    /* 64 fit, of 65 the middle goes. */
    char long_text[66];
    memset(long_text, 'x', 65);
    long_text[65] = '\0';
    check_text(PyUnicode_FromStringAndSize(long_text, 64), 64, long_text + 1);
    struct arena a;
    arena_init(&a, 4096);
    PyObject *s = PyUnicode_FromString(long_text);
    const char *cut = text_of(s, 64, &a);
    CHECK(cut != NULL && strstr(cut, "characters cut") != NULL);
    Py_XDECREF(s);
    CHECK(text_of(Py_None, 64, &a) == NULL);
    arena_release(&a);
}

static void test_imports(void)
{
    char text[256];
    CHECK_EQ_INT(pyembed_import("json", text, sizeof text), 0);
    CHECK_EQ_INT(pyembed_import("no_such_module_here", text, sizeof text), -1);
    CHECK_STR(text, "ModuleNotFoundError: No module named 'no_such_module_here'");
    CHECK(pyembed_available("csv"));
    CHECK(!pyembed_available("no_such_module_here"));
    CHECK(strncmp(pyembed_version(), "3.", 2) == 0);
}

static void test_compile(void)
{
    PyObject *name = PyUnicode_FromString("x.py");
    struct compiled code = {NULL, NULL};
    CHECK_EQ_INT(compile_source("a = 1\na", 7, name, true, &code), 0);
    CHECK(code.body != NULL && code.last != NULL);
    compile_release(&code);
    CHECK_EQ_INT(compile_source("a = 1\na", 7, name, false, &code), 0);
    CHECK(code.body != NULL && code.last == NULL);
    compile_release(&code);
    CHECK_EQ_INT(compile_source("", 0, name, true, &code), 0);
    CHECK(code.last == NULL);
    compile_release(&code);
    CHECK_EQ_INT(compile_source("a =", 3, name, true, &code), -1);
    CHECK(PyErr_ExceptionMatches(PyExc_SyntaxError));
    PyErr_Clear();
    Py_DECREF(name);
}

/* A large source: its last statement may end in many ways, and is a value or not. */
static void test_compile_large(void)
{
    static const struct {
        const char *end;
        bool value;
    } rows[] = {
        {"x\n", true},
        {"f(\n  1,\n)\n# end\n\n", true},
        {"y = 1; x", true},
        {"'text'", true},
        {"y = 1", false},
        {"if x:\n  x\n", false},
        {"z = \"\"\"\nx\n\"\"\"", false},
        {"def f():\n  return 1\n", false},
    };
    struct buf code;
    buf_init(&code, 1u << 20);
    PyObject *name = PyUnicode_FromString("x.py");
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct compiled compiled = {NULL, NULL};
        buf_clear(&code);
        for (int n = 0; n < 10000; n++) {
            CHECK(buf_append_str(&code, "x = 12345\n") == 0);
        }
        CHECK(buf_append_str(&code, rows[i].end) == 0);
        CHECK_EQ_INT(compile_source(code.data, code.len, name, true, &compiled), 0);
        CHECK_EQ_INT(compiled.last != NULL, rows[i].value);
        compile_release(&compiled);
    }
    struct compiled compiled = {NULL, NULL};
    CHECK(buf_append_str(&code, "\nx =\n") == 0);
    CHECK_EQ_INT(compile_source(code.data, code.len, name, true, &compiled), -1);
    CHECK(PyErr_ExceptionMatches(PyExc_SyntaxError));
    PyErr_Clear();
    Py_DECREF(name);
    buf_release(&code);
}

static void test_wrong_python(void)
{
    struct err err;
    CHECK_EQ_INT(pyembed_init("/no/such/python", &err), -1);
    CHECK_EQ_INT(err.code, ERR_INVALID_FIELD);
    CHECK_EQ_INT(pyembed_init("python3", &err), -1);
    CHECK_EQ_INT(pyembed_init("/proc/self/exe", &err), -1); /* no library beside it */
}

int main(void)
{
    struct err err;
    RUN(test_wrong_python);
    setenv("PYTHONHASHSEED", "not a number", 1); /* would stop an interpreter that looked */
    if (pyembed_init("", &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    RUN(test_arena_has_a_maximum);
    RUN(test_texts_are_valid_and_bounded);
    RUN(test_imports);
    RUN(test_compile);
    RUN(test_compile_large);
    CHECK_EQ_INT(pyembed_settle(&err), 0);
    return check_done();
}
