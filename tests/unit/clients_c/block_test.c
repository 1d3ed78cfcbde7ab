#include "clients/c/cmd/block.h"

#include "tests/support/check.h"

static enum block classify(const char *text)
{
    return block_classify(text, strlen(text));
}

static void test_empty(void)
{
    CHECK(classify("") == BLOCK_EMPTY);
    CHECK(classify("\n  \n\t\n") == BLOCK_EMPTY);
    CHECK(classify("# note: (\n") == BLOCK_EMPTY);
}

static void test_simple_statements(void)
{
    CHECK(classify("x = 1\n") == BLOCK_COMPLETE);
    CHECK(classify("print('a:')\n") == BLOCK_COMPLETE);
    CHECK(classify("x = {'a': 1}\n") == BLOCK_COMPLETE);
    CHECK(classify("x[1:]\n") == BLOCK_COMPLETE);
    CHECK(classify("form = 1 # if x:\n") == BLOCK_COMPLETE);
    CHECK(classify("f = lambda: 0\n") == BLOCK_COMPLETE);
    CHECK(classify("x = 'it\\'s'\n") == BLOCK_COMPLETE);
}

static void test_open_brackets(void)
{
    CHECK(classify("f(\n") == BLOCK_OPEN);
    CHECK(classify("f(\n1,\n") == BLOCK_OPEN);
    CHECK(classify("f(\n1,\n)\n") == BLOCK_COMPLETE);
    CHECK(classify("x = [ # ]\n") == BLOCK_OPEN);
    CHECK(classify("x = '('\n") == BLOCK_COMPLETE);
    CHECK(classify("x = {\n\n") == BLOCK_OPEN);
}

static void test_strings(void)
{
    CHECK(classify("x = '''a\n") == BLOCK_OPEN);
    CHECK(classify("x = '''a\nb'''\n") == BLOCK_COMPLETE);
    CHECK(classify("x = \"\"\"a'''\n") == BLOCK_OPEN);
    CHECK(classify("x = \"\"\"\\\"\"\"\n") == BLOCK_OPEN);
    CHECK(classify("x = ''\n") == BLOCK_COMPLETE);
    CHECK(classify("x = 'cut\n") == BLOCK_COMPLETE); /* Python reports it */
    CHECK(classify("x = r'''\\'''\n") == BLOCK_OPEN);
    CHECK(classify("'''\nif x:\n'''\n") == BLOCK_COMPLETE);
}

static void test_backslash(void)
{
    CHECK(classify("x = 1 + \\\n") == BLOCK_OPEN);
    CHECK(classify("x = 1 + \\\n2\n") == BLOCK_COMPLETE);
    CHECK(classify("x = 1 # \\\n") == BLOCK_COMPLETE);
}

static void test_suites(void)
{
    CHECK(classify("def f():\n") == BLOCK_SUITE);
    CHECK(classify("def f():\n    return 1\n") == BLOCK_SUITE);
    CHECK(classify("if x: pass\n") == BLOCK_SUITE);
    CHECK(classify("for i in x: # all\n") == BLOCK_SUITE);
    CHECK(classify("class A:\n    '''doc'''\n\n") == BLOCK_SUITE);
    CHECK(classify("match x:\n") == BLOCK_SUITE);
    CHECK(classify("async def f():\n    pass\n") == BLOCK_SUITE);
    CHECK(classify("def f(\n    a,\n") == BLOCK_OPEN);
    CHECK(classify("def f():\n    x = (\n") == BLOCK_OPEN);
}

static void test_decorators(void)
{
    CHECK(classify("@cache\n") == BLOCK_OPEN);
    CHECK(classify("@cache\n\n") == BLOCK_OPEN);
    CHECK(classify("@cache\ndef f():\n") == BLOCK_SUITE);
    CHECK(classify("a @ b\n") == BLOCK_COMPLETE);
}

static void test_wrong_brackets_end(void)
{
    CHECK(classify("x = )\n") == BLOCK_COMPLETE);
    CHECK(classify(")))(\n") == BLOCK_COMPLETE);
}

static bool continues(const char *line)
{
    return block_line_continues(line, strlen(line));
}

static void test_lines_that_continue(void)
{
    CHECK(continues("else:\n"));
    CHECK(continues("elif x:\n"));
    CHECK(continues("except E:\n"));
    CHECK(continues("finally:\n"));
    CHECK(continues("    x\n"));
    CHECK(continues("\n"));
    CHECK(continues("# note\n"));
    CHECK(!continues("x = 1\n"));
    CHECK(!continues("elsewhere = 1\n"));
    CHECK(!continues("def g():\n"));
}

/* Every cut of a hard text is classified without reading past it. */
static void test_every_prefix(void)
{
    static const char text[] =
        "@a\ndef f(x='''\\'''', y=[1, {2: \"\\\\\"}]): \\\n  # (\n\tpass\n\\";
    for (size_t n = 0; n < sizeof text; n++) {
        char copy[sizeof text];
        memcpy(copy, text, n);
        CHECK(block_classify(copy, n) <= BLOCK_OPEN);
        (void)block_line_continues(copy, n);
    }
}

int main(void)
{
    RUN(test_empty);
    RUN(test_simple_statements);
    RUN(test_open_brackets);
    RUN(test_strings);
    RUN(test_backslash);
    RUN(test_suites);
    RUN(test_decorators);
    RUN(test_wrong_brackets_end);
    RUN(test_lines_that_continue);
    RUN(test_every_prefix);
    return check_done();
}
