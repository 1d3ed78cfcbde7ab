#include "service/pyembed/python.h"

#include "service/pyembed/compile.h"

#include <string.h>

#include "service/base/utf8.h"

/* A larger source is cut before its last statement instead of being made a tree of objects, which
 * takes three times as long as compiling it. */
#define LARGE_SOURCE (64u << 10)

static PyCompilerFlags flags_for(int more)
{
    return (PyCompilerFlags){
        .cf_flags = PyCF_SOURCE_IS_UTF8 | PyCF_IGNORE_COOKIE | more,
        .cf_feature_version = PY_MINOR_VERSION,
    };
}

/* Bytes that are no text: what Python says of them comes as a SyntaxError. */
static int check_bytes(const char *source, size_t n)
{
    if (memchr(source, '\0', n) != NULL) {
        PyErr_SetString(PyExc_SyntaxError, "source code cannot contain null bytes");
        return -1;
    }
    if (utf8_valid(source, n)) {
        return 0;
    }
    PyObject *text = PyUnicode_DecodeUTF8(source, (Py_ssize_t)n, "strict");
    Py_XDECREF(text);
    PyObject *type;
    PyObject *value;
    PyObject *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value != NULL) {
        PyErr_Format(PyExc_SyntaxError, "(unicode error) %S", value);
    } else {
        PyErr_SetString(PyExc_SyntaxError, "source code is not valid UTF-8");
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return -1;
}

static int compile_whole(const char *source, PyObject *filename, struct compiled *ret)
{
    PyCompilerFlags flags = flags_for(0);
    ret->body = Py_CompileStringObject(source, filename, Py_file_input, &flags, -1);
    return ret->body == NULL ? -1 : 0;
}

/* Removes the last statement of a module's tree if it is an expression, and gives that expression:
 * 1, 0 when it is none, -1 with an exception. */
static int split_last(PyObject *tree, PyObject **ret_expression)
{
    PyObject *body = PyObject_GetAttrString(tree, "body");
    int r = body == NULL ? -1 : 0;
    Py_ssize_t n = r == 0 && PyList_Check(body) ? PyList_GET_SIZE(body) : 0;
    if (n > 0) {
        PyObject *last = PyList_GET_ITEM(body, n - 1);
        if ((PyObject *)Py_TYPE(last) == pyembed_kept.ast_expr) {
            *ret_expression = PyObject_GetAttrString(last, "value");
            r = *ret_expression == NULL || PyList_SetSlice(body, n - 1, n, NULL) < 0 ? -1 : 1;
        }
    }
    Py_XDECREF(body);
    return r;
}

static bool is_empty(PyObject *tree)
{
    PyObject *body = PyObject_GetAttrString(tree, "body");
    bool empty = body != NULL && PyList_Check(body) && PyList_GET_SIZE(body) == 0;
    Py_XDECREF(body);
    return empty;
}

static PyObject *compile_tree(PyObject *tree, PyObject *filename, const char *mode, int flags)
{
    return PyObject_CallFunction(pyembed_kept.compile, "OOsii", tree, filename, mode, flags, 1);
}

static PyObject *expression_tree(PyObject *expression)
{
    return PyObject_CallFunctionObjArgs(pyembed_kept.ast_expression, expression, NULL);
}

/* Both parts. `from __future__` in the body holds for the expression. Steals `take_body`. */
static int set_parts(PyObject *take_body, PyObject *expression, PyObject *filename,
                     struct compiled *ret)
{
    PyObject *tree = take_body == NULL ? NULL : expression_tree(expression);
    if (tree != NULL) {
        int future = ((PyCodeObject *)take_body)->co_flags & PyCF_MASK;
        ret->last = compile_tree(tree, filename, "eval", future);
    }
    ret->body = take_body;
    Py_XDECREF(tree);
    if (ret->last == NULL) {
        compile_release(ret);
        return -1;
    }
    return 1;
}

/* 1 when the source was compiled in two parts, 0 when it ends with no expression, -1 with an
 * exception. */
static int compile_parts(const char *source, PyObject *filename, struct compiled *ret)
{
    PyCompilerFlags flags = flags_for(PyCF_ONLY_AST);
    PyObject *tree = Py_CompileStringObject(source, filename, Py_file_input, &flags, -1);
    PyObject *expression = NULL;
    int r = tree == NULL ? -1 : split_last(tree, &expression);
    if (r == 1) {
        r = set_parts(compile_tree(tree, filename, "exec", 0), expression, filename, ret);
    }
    Py_XDECREF(expression);
    Py_XDECREF(tree);
    return r;
}

/* The last line that may begin a statement of the module itself: not blank, not indented, no
 * comment, and not the end of something that began before. */
static char *last_start(char *source, size_t n)
{
    for (char *p = source + n; p > source; p--) {
        if (p[-1] == '\n' && *p != '\0' && strchr(" \t\f\r\n#)]}\"'", *p) == NULL) {
            return p;
        }
    }
    return source;
}

/* The text from `start` on, after as many empty lines as stand before it. */
static PyObject *tree_from(const char *source, const char *start, PyObject *filename)
{
    size_t lines = 0;
    for (const char *p = source; p < start; p++) {
        lines += *p == '\n';
    }
    size_t n = strlen(start);
    char *text = PyMem_Malloc(lines + n + 1);
    if (text == NULL) {
        return PyErr_NoMemory();
    }
    memset(text, '\n', lines);
    memcpy(text + lines, start, n + 1);
    PyCompilerFlags flags = flags_for(PyCF_ONLY_AST);
    PyObject *tree = Py_CompileStringObject(text, filename, Py_file_input, &flags, -1);
    PyMem_Free(text);
    return tree;
}

/* As compile_parts. A wrong cut shows: then one of the two sides does not compile. */
static int compile_cut(char *source, size_t n, PyObject *filename, struct compiled *ret)
{
    char *start = last_start(source, n);
    PyObject *tree = tree_from(source, start, filename);
    PyObject *expression = NULL;
    int r = tree == NULL ? -1 : split_last(tree, &expression);
    if (r == 1 && !is_empty(tree)) {
        r = compile_parts(source, filename, ret); /* several statements in that line */
    } else if (r == 1) {
        PyCompilerFlags flags = flags_for(0);
        char saved = *start;
        *start = '\0';
        PyObject *body = Py_CompileStringObject(source, filename, Py_file_input, &flags, -1);
        *start = saved;
        r = set_parts(body, expression, filename, ret);
    }
    Py_XDECREF(expression);
    Py_XDECREF(tree);
    return r;
}

static int compile_for_value(char *source, size_t n, PyObject *filename, struct compiled *ret)
{
    int r = n > LARGE_SOURCE ? compile_cut(source, n, filename, ret)
                             : compile_parts(source, filename, ret);
    if (r < 0 && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        /* Cut wrongly, or with no room for a tree, or not Python at all: see how it compiles whole. */
        PyErr_Clear();
        r = 0;
    }
    return r;
}

int compile_source(const void *source, size_t n, PyObject *filename, bool want_value,
                   struct compiled *ret)
{
    static const char mark[] = "\xEF\xBB\xBF";
    const char *text = source;
    if (n >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        n -= 3;
    }
    if (n > 0 && check_bytes(text, n) < 0) {
        return -1;
    }
    char *copy = PyMem_Malloc(n + 1); /* the compiler wants a NUL at the end */
    if (copy == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (n > 0) {
        memcpy(copy, text, n);
    }
    copy[n] = '\0';
    int r = want_value ? compile_for_value(copy, n, filename, ret) : 0;
    if (r == 0) {
        r = compile_whole(copy, filename, ret);
    }
    PyMem_Free(copy);
    return r < 0 ? -1 : 0;
}

void compile_release(struct compiled *code)
{
    Py_CLEAR(code->body);
    Py_CLEAR(code->last);
}
