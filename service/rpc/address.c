#include "service/rpc/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define FORMS "unix:/path, unix-abstract:name, 127.0.0.1:PORT or [::1]:PORT"
#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)
#define PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

static int parse_unix(const char *path, struct address *a, struct err *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&a->sockaddr;
    if (strncmp(path, "///", 3) == 0) {
        path += 2;
    }
    if (path[0] != '/' || path[1] == '\0') {
        return err_set(err, ERR_INVALID_FIELD, "--listen unix:%.100s: the path must begin with /",
                       path);
    }
    size_t n = strlen(path);
    if (n >= PATH_SIZE) {
        return err_set(err, ERR_INVALID_FIELD,
                       "--listen unix:%.60s...: the path has %zu bytes, more than the %zu that a "
                       "Unix socket can have",
                       path, n, PATH_SIZE - 1);
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n + 1);
    a->kind = ADDRESS_UNIX;
    a->len = (socklen_t)(PATH_OFFSET + n + 1);
    return 0;
}

static int parse_abstract(const char *name, struct address *a, struct err *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&a->sockaddr;
    size_t n = strlen(name);
    if (n == 0 || n >= PATH_SIZE) {
        return err_set(err, ERR_INVALID_FIELD,
                       "--listen unix-abstract:%.60s: a name has from 1 to %zu bytes", name,
                       PATH_SIZE - 1);
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + 1, name, n);
    a->kind = ADDRESS_ABSTRACT;
    a->len = (socklen_t)(PATH_OFFSET + 1 + n);
    return 0;
}

static int parse_port(const char *text, in_port_t *ret_port)
{
    unsigned value = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 5 || strspn(text, "0123456789") != n) {
        return -1;
    }
    for (; *text; text++) {
        value = value * 10 + (unsigned)(*text - '0');
    }
    if (value > 65535) {
        return -1;
    }
    *ret_port = htons((uint16_t)value);
    return 0;
}

/* Splits "host:port" or "[host]:port"; the host is copied without brackets. */
static int split(const char *text, char *host, size_t size, const char **ret_port)
{
    const char *end;
    if (text[0] == '[') {
        text++;
        end = strchr(text, ']');
        if (end == NULL || end[1] != ':') {
            return -1;
        }
        *ret_port = end + 2;
    } else {
        end = strrchr(text, ':');
        if (end == NULL) {
            return -1;
        }
        *ret_port = end + 1;
    }
    size_t n = (size_t)(end - text);
    if (n >= size) {
        return -1;
    }
    memcpy(host, text, n);
    host[n] = '\0';
    return 0;
}

static int parse_tcp(const char *text, struct address *a, struct err *err)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)&a->sockaddr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->sockaddr;
    struct in_addr ip4;
    struct in6_addr ip6;
    char host[64];
    const char *port_text;
    in_port_t port;
    bool is_ip4;
    if (split(text, host, sizeof host, &port_text) < 0 || parse_port(port_text, &port) < 0) {
        return err_set(err, ERR_INVALID_FIELD, "--listen %.100s: not an address; taken are " FORMS,
                       text);
    }
    is_ip4 = text[0] != '[' && inet_pton(AF_INET, host, &ip4) == 1;
    if (is_ip4 && (ntohl(ip4.s_addr) >> 24) == 127) {
        in4->sin_family = AF_INET;
        in4->sin_addr = ip4;
        in4->sin_port = port;
        a->len = sizeof *in4;
    } else if (text[0] == '[' && inet_pton(AF_INET6, host, &ip6) == 1 &&
               IN6_IS_ADDR_LOOPBACK(&ip6)) {
        in6->sin6_family = AF_INET6;
        in6->sin6_addr = ip6;
        in6->sin6_port = port;
        a->len = sizeof *in6;
    } else {
        return err_set(err, ERR_INVALID_FIELD,
                       "--listen %.80s: not this machine's loopback, and there is no encryption "
                       "yet; taken are " FORMS,
                       text);
    }
    a->kind = ADDRESS_TCP;
    return 0;
}

int address_parse(const char *text, struct address *ret_address, struct err *err)
{
    static const char unix_scheme[] = "unix:";
    static const char abstract_scheme[] = "unix-abstract:";
    struct address a = {0};
    int r;
    if (strncmp(text, unix_scheme, sizeof unix_scheme - 1) == 0) {
        r = parse_unix(text + sizeof unix_scheme - 1, &a, err);
    } else if (strncmp(text, abstract_scheme, sizeof abstract_scheme - 1) == 0) {
        r = parse_abstract(text + sizeof abstract_scheme - 1, &a, err);
    } else {
        r = parse_tcp(text, &a, err);
    }
    if (r == 0) {
        *ret_address = a;
    }
    return r;
}

void address_format(const struct address *a, char *ret_text, size_t size)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sockaddr;
    char host[INET6_ADDRSTRLEN] = "";
    if (a->kind == ADDRESS_UNIX) {
        (void)snprintf(ret_text, size, "unix:%s", un->sun_path);
    } else if (a->kind == ADDRESS_ABSTRACT) {
        (void)snprintf(ret_text, size, "unix-abstract:%.*s", (int)(a->len - PATH_OFFSET - 1),
                       un->sun_path + 1);
    } else if (a->sockaddr.ss_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a->sockaddr;
        (void)inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host);
        (void)snprintf(ret_text, size, "%s:%u", host, ntohs(in4->sin_port));
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sockaddr;
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        (void)snprintf(ret_text, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    }
}

const char *address_path(const struct address *a)
{
    return ((const struct sockaddr_un *)&a->sockaddr)->sun_path;
}
