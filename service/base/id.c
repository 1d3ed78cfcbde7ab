#include "service/base/id.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "service/base/clock.h"

static const char base32[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void id_ulid(char ret_ulid[ID_ULID_LEN + 1])
{
    uint8_t random[10];
    size_t got = 0;
    while (got < sizeof random) {
        ssize_t r = getrandom(random + got, sizeof random - got, 0);
        if (r > 0) {
            got += (size_t)r;
        }
    }
    uint64_t ms = (uint64_t)(clock_real_ns() / NS_PER_MS);
    for (int i = 9; i >= 0; i--) {
        ret_ulid[i] = base32[ms & 31];
        ms >>= 5;
    }
    /* 80 bits are 16 digits of 5 bits: 5 bytes make 8 digits, twice. */
    for (int half = 0; half < 2; half++) {
        uint64_t bits = 0;
        for (int i = 0; i < 5; i++) {
            bits = bits << 8 | random[half * 5 + i];
        }
        for (int i = 7; i >= 0; i--) {
            ret_ulid[10 + half * 8 + i] = base32[bits & 31];
            bits >>= 5;
        }
    }
    ret_ulid[ID_ULID_LEN] = '\0';
}

void id_session(const char *node, char ret_id[ID_SESSION_MAX + 1])
{
    char ulid[ID_ULID_LEN + 1];
    id_ulid(ulid);
    (void)snprintf(ret_id, ID_SESSION_MAX + 1, "%.*s-%s", ID_NODE_MAX, node, ulid);
}

static bool alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool only(const char *s, size_t n, const char *also)
{
    for (size_t i = 0; i < n; i++) {
        if (!alnum(s[i]) && (s[i] == '\0' || strchr(also, s[i]) == NULL)) {
            return false;
        }
    }
    return true;
}

bool id_node_valid(const char *node)
{
    size_t n = strnlen(node, ID_NODE_MAX + 1);
    return n >= 1 && n <= ID_NODE_MAX && node[0] != '-' && node[n - 1] != '-' &&
           only(node, n, ".-");
}

bool id_client_valid(const char *id)
{
    size_t n = strnlen(id, ID_CLIENT_MAX + 1);
    return n >= 1 && n <= ID_CLIENT_MAX && only(id, n, "._:-");
}

enum id_route id_route(const char *node, const char *session_id)
{
    size_t n = strnlen(session_id, ID_SESSION_MAX + 1);
    const char *dash = strrchr(session_id, '-');
    if (n > ID_SESSION_MAX || dash == NULL || strlen(dash + 1) != ID_ULID_LEN ||
        !only(dash + 1, ID_ULID_LEN, "")) {
        return ID_ROUTE_MALFORMED;
    }
    size_t node_len = (size_t)(dash - session_id);
    if (node_len == 0 || !only(session_id, node_len, ".-")) {
        return ID_ROUTE_MALFORMED;
    }
    bool here = strlen(node) == node_len && memcmp(node, session_id, node_len) == 0;
    return here ? ID_ROUTE_HERE : ID_ROUTE_ELSEWHERE;
}
