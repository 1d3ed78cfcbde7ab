/* report.c: what a session reports, made fit to be sent on: valid UTF-8, bounded counts and sizes.
 * It is display data from a hostile side; it is shortened, never refused. */
#include <stdlib.h>
#include <string.h>

#include "service/base/utf8.h"
#include "service/session/internal.h"

#define FRAMES_MOST 1000
#define WARNINGS_MOST 100
#define ARGS_MOST 1000
#define FILES_MOST 10000
#define PARTS_MOST 64
#define RESULT_MOST (LOG_MESSAGE_MAX - 1024) /* the event around it, and what the log adds */
#define KEPT_TEXT (16u << 10)                /* of each text when a report has to shrink */

void report_clean_text(char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;
    if (n == 0 || utf8_valid(text, n)) {
        return;
    }
    for (size_t i = 0; i < n;) {
        size_t k = 1;
        while (k <= 4 && (i + k > n || !utf8_valid(text + i, k))) {
            k++;
        }
        if (k <= 4) {
            i += k;
        } else {
            text[i++] = '?';
        }
    }
}

/* Frees what is beyond the bound, so that it is never looked at again. */
static size_t cut_list(void **items, size_t n, size_t most, void (*release)(void *item))
{
    for (size_t i = most; i < n; i++) {
        release(items[i]);
    }
    return n < most ? n : most;
}

static void free_frame(void *item)
{
    pyexec__v1__traceback_frame__free_unpacked(item, NULL);
}

static void free_file(void *item)
{
    pyexec__v1__file_ref__free_unpacked(item, NULL);
}

static void free_part(void *item)
{
    pyexec__v1__mime_part__free_unpacked(item, NULL);
}

static void clean_file(Pyexec__V1__FileRef *file)
{
    report_clean_text(file->path);
}

static void clean_bundle(Pyexec__V1__MimeBundle *bundle)
{
    if (bundle == NULL) {
        return;
    }
    bundle->n_parts = cut_list((void **)bundle->parts, bundle->n_parts, PARTS_MOST, free_part);
    for (size_t i = 0; i < bundle->n_parts; i++) {
        Pyexec__V1__MimePart *part = bundle->parts[i];
        report_clean_text(part->mime_type);
        for (size_t k = 0; k < part->n_metadata; k++) {
            report_clean_text(part->metadata[k]->key);
            report_clean_text(part->metadata[k]->value);
        }
        if (part->content_case == PYEXEC__V1__MIME_PART__CONTENT_FILE && part->file != NULL) {
            clean_file(part->file);
        }
    }
}

static void clean_info(Pyexec__V1__ExceptionInfo *info)
{
    if (info == NULL) {
        return;
    }
    info->n_args = cut_list((void **)info->args, info->n_args, ARGS_MOST, free);
    for (size_t i = 0; i < info->n_args; i++) {
        report_clean_text(info->args[i]);
    }
    for (size_t i = 0; i < info->n_attributes; i++) {
        report_clean_text(info->attributes[i]->key);
        report_clean_text(info->attributes[i]->value);
    }
}

void report_clean(Pyexec__Internal__SessionDone *d)
{
    report_clean_text(d->exc_type);
    report_clean_text(d->exc_message);
    report_clean_text(d->traceback);
    d->n_frames = cut_list((void **)d->frames, d->n_frames, FRAMES_MOST, free_frame);
    for (size_t i = 0; i < d->n_frames; i++) {
        report_clean_text(d->frames[i]->file);
        report_clean_text(d->frames[i]->function);
        report_clean_text(d->frames[i]->source_line);
    }
    d->n_warnings = cut_list((void **)d->warnings, d->n_warnings, WARNINGS_MOST, free);
    for (size_t i = 0; i < d->n_warnings; i++) {
        report_clean_text(d->warnings[i]);
    }
    d->n_changed_files =
        cut_list((void **)d->changed_files, d->n_changed_files, FILES_MOST, free_file);
    for (size_t i = 0; i < d->n_changed_files; i++) {
        clean_file(d->changed_files[i]);
    }
    clean_bundle(d->value);
    clean_info(d->exc_info);
}

bool report_clean_display(Pyexec__V1__DisplayData *display)
{
    report_clean_text(display->display_id);
    clean_bundle(display->bundle);
    return pyexec__v1__display_data__get_packed_size(display) <= RESULT_MOST;
}

/* Cuts the middle out, at character boundaries. */
static void shorten(char *text, size_t keep)
{
    static const char cut[] = "\n[…]\n";
    size_t n = text != NULL ? strlen(text) : 0;
    if (n <= keep + sizeof cut) {
        return;
    }
    size_t head = utf8_boundary(text, keep / 2);
    size_t tail = n - keep / 2;
    while (tail < n && ((unsigned char)text[tail] & 0xc0) == 0x80) {
        tail++;
    }
    memcpy(text + head, cut, sizeof cut - 1);
    memmove(text + head + sizeof cut - 1, text + tail, n - tail + 1);
}

static bool fits(const Pyexec__V1__ExecutionResult *r)
{
    return pyexec__v1__execution_result__get_packed_size(r) <= RESULT_MOST;
}

/* In the order of what a person misses least. Strings are the report's own, never literals, when
 * they are long. */
bool report_fit(Pyexec__V1__ExecutionResult *r)
{
    if (fits(r)) {
        return false;
    }
    r->value = NULL;
    r->n_changed_files = 0;
    if (fits(r)) {
        return true;
    }
    shorten(r->traceback, RESULT_MOST / 2);
    shorten(r->exc_message, KEPT_TEXT);
    r->exc_info = NULL;
    if (fits(r)) {
        return true;
    }
    r->n_frames = 0;
    for (size_t i = 0; i < r->n_warnings; i++) {
        shorten(r->warnings[i], 1024);
    }
    shorten(r->exc_type, 1024);
    return true;
}
