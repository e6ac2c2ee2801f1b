/* A stand-in for libchdb.so that owns its memory strictly: every handle is an allocation of its own, listed while it
 * lives. A call with a handle that does not live, in the wrong state or of the wrong kind ends the process with a
 * sentence; memory is really freed, so that the sanitizer in the host sees who reads it afterwards. What a statement
 * does is written in the statement. */
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { CONNECTION = 1, RESULT, INSERT };

struct handle {
    enum kind kind;
    struct handle *next;
    struct handle *connection; /* of results and inserts */
    char *buffer;
    size_t length;
    char *error;
    int chunks; /* a stream's chunks that are left */
    int is_stream, is_finished;
    uint64_t rows, bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle *living;

static void broken(const char *what) {
    fprintf(stderr, "the wrapper misuses the library: %s\n", what);
    abort();
}

static struct handle *made(enum kind kind, struct handle *connection) {
    struct handle *handle = calloc(1, sizeof *handle);
    handle->kind = kind;
    handle->connection = connection;
    pthread_mutex_lock(&lock);
    handle->next = living;
    living = handle;
    pthread_mutex_unlock(&lock);
    return handle;
}

static struct handle *live(void *pointer, enum kind kind, const char *call) {
    pthread_mutex_lock(&lock);
    struct handle *handle = living;
    while (handle && handle != pointer) handle = handle->next;
    pthread_mutex_unlock(&lock);
    if (!handle || handle->kind != kind) broken(call);
    return handle;
}

static void freed(struct handle *handle) {
    pthread_mutex_lock(&lock);
    struct handle **at = &living;
    while (*at != handle) at = &(*at)->next;
    *at = handle->next;
    for (struct handle *other = living; other; other = other->next)
        if (other->connection == handle) broken("a connection is closed under a living handle");
    pthread_mutex_unlock(&lock);
    free(handle->buffer);
    free(handle->error);
    free(handle);
}

/* Copies, and so reads, all of it: a wrong length is the sanitizer's to find. */
static char *copied(const char *text, size_t length) {
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

static void takes(const char *const *names, const size_t *name_lengths, const char *const *values,
                  const size_t *value_lengths, size_t count, struct handle *into) {
    for (size_t i = 0; i < count; i++) {
        char *name = copied(names[i], name_lengths[i]), *value = copied(values[i], value_lengths[i]);
        into->rows += strlen(name);
        into->bytes += value_lengths[i];
        free(name);
        free(value);
    }
}

const char *chdb_version(void) { return "26.7.0-stub"; }
void chdb_set_signal_handlers_enabled(int enabled) { (void)enabled; }

void **chdb_connect(int count, const char *const *arguments) {
    for (int i = 0; i < count; i++)
        if (!strcmp(arguments[i], "--refuse")) return NULL;
    void **outer = malloc(sizeof *outer);
    *outer = made(CONNECTION, NULL);
    return outer;
}

void chdb_close_conn(void **outer) {
    freed(live(*outer, CONNECTION, "close of no connection"));
    free(outer);
}

static struct handle *answered(void *connection, const char *sql, size_t length) {
    struct handle *answer = made(RESULT, live(connection, CONNECTION, "a statement on no connection"));
    char *text = copied(sql, length);
    if (!strncmp(text, "fail", 4)) answer->error = copied("Code: 60. DB::Exception: no\xff such table", 37);
    else if (!strncmp(text, "empty", 5)) answer->length = 0;
    else {
        answer->length = length;
        answer->buffer = copied(sql, length);
    }
    free(text);
    return answer;
}

void *chdb_query_with_params_n(void *connection, const char *sql, size_t length, const char *format, size_t format_length,
                               const char *const *names, const size_t *name_lengths, const char *const *values,
                               const size_t *value_lengths, size_t count) {
    free(copied(format, format_length));
    if (length >= 4 && !memcmp(sql, "null", 4)) return NULL;
    struct handle *answer = answered(connection, sql, length);
    takes(names, name_lengths, values, value_lengths, count, answer);
    return answer;
}

/* `stream N`: N chunks, then the end; `stream N then fail`: an error in place of the end. */
void *chdb_stream_query_with_params_n(void *connection, const char *sql, size_t length, const char *format,
                                      size_t format_length, const char *const *names, const size_t *name_lengths,
                                      const char *const *values, const size_t *value_lengths, size_t count) {
    struct handle *answer = chdb_query_with_params_n(connection, sql, length, format, format_length, names, name_lengths,
                                                     values, value_lengths, count);
    if (!answer) return NULL;
    answer->is_stream = 1;
    if (answer->buffer && !strncmp(answer->buffer, "stream ", 7)) answer->chunks = atoi(answer->buffer + 7);
    return answer;
}

void *chdb_stream_fetch_result(void *connection, void *stream) {
    live(connection, CONNECTION, "fetch on no connection");
    struct handle *from = live(stream, RESULT, "fetch from no stream");
    if (!from->is_stream) broken("fetch from a result that is no stream");
    if (from->is_finished) broken("fetch after the end, or after cancel");
    struct handle *chunk = made(RESULT, connection);
    if (from->chunks > 0) {
        from->chunks--;
        chunk->buffer = copied("a chunk\n", 8);
        chunk->length = 8;
        return chunk;
    }
    from->is_finished = 1;
    if (from->buffer && strstr(from->buffer, "then fail")) chunk->error = copied("Code: 241. DB::Exception: memory", 32);
    return chunk;
}

void chdb_stream_cancel_query(void *connection, void *stream) {
    live(connection, CONNECTION, "cancel on no connection");
    struct handle *from = live(stream, RESULT, "cancel of no stream");
    if (from->is_finished) broken("cancel after the end");
    from->is_finished = 1;
}

void chdb_destroy_query_result(void *result) { freed(live(result, RESULT, "a result is destroyed twice, or was none")); }
const char *chdb_result_buffer(void *result) { return live(result, RESULT, "buffer of no result")->buffer; }
size_t chdb_result_length(void *result) { return live(result, RESULT, "length of no result")->length; }
uint64_t chdb_result_rows_written(void *result) { return live(result, RESULT, "rows of no result")->rows; }
uint64_t chdb_result_bytes_written(void *result) { return live(result, RESULT, "bytes of no result")->bytes; }
const char *chdb_result_error(void *result) { return live(result, RESULT, "error of no result")->error; }

void *chdb_stream_insert_with_params_n(void *connection, const char *sql, size_t length, const char *format,
                                       size_t format_length, const char *const *names, const size_t *name_lengths,
                                       const char *const *values, const size_t *value_lengths, size_t count) {
    struct handle *insert = made(INSERT, live(connection, CONNECTION, "an insert on no connection"));
    struct handle counted = {0};
    takes(names, name_lengths, values, value_lengths, count, &counted);
    free(copied(format, format_length));
    insert->buffer = copied(sql, length);
    if (!strncmp(insert->buffer, "fail", 4)) insert->error = copied("Code: 62. DB::Exception: syntax", 31);
    return insert;
}

void *chdb_stream_insert_n(void *connection, const char *sql, size_t length, const char *format, size_t format_length) {
    return chdb_stream_insert_with_params_n(connection, sql, length, format, format_length, NULL, NULL, NULL, NULL, 0);
}

int chdb_stream_append(void *handle, const void *data, size_t length) {
    struct handle *insert = live(handle, INSERT, "append to no insert");
    if (insert->is_finished) broken("append after done");
    free(copied(data, length));
    insert->bytes += length;
    insert->rows++;
    if (!strncmp(insert->buffer, "full", 4)) {
        /* An error with words the first time, without any the second. */
        if (!insert->error && insert->rows == 1) insert->error = copied("Code: 243. DB::Exception: full", 30);
        else { free(insert->error); insert->error = NULL; }
        return 1;
    }
    return 0;
}

void *chdb_stream_done(void *handle) {
    struct handle *insert = live(handle, INSERT, "done on no insert");
    if (insert->is_finished) broken("done twice");
    insert->is_finished = 1;
    struct handle *answer = made(RESULT, insert->connection);
    answer->rows = insert->rows;
    answer->bytes = insert->bytes;
    if (!strncmp(insert->buffer, "late", 4)) answer->error = copied("Code: 252. DB::Exception: too many parts", 40);
    return answer;
}

const char *chdb_stream_insert_error(void *handle) { return live(handle, INSERT, "error of no insert")->error; }
void chdb_destroy_insert_stream(void *handle) { freed(live(handle, INSERT, "an insert is destroyed twice, or was none")); }

struct analysis { uint32_t struct_size, statement_count, flags, query_class; };

int chdb_classify_query_n(void *connection, const char *sql, size_t length, const char *database, size_t database_length,
                          struct analysis *out) {
    live(connection, CONNECTION, "classify on no connection");
    if (database || database_length) broken("a database that nobody named");
    if (out->struct_size != sizeof *out) broken("an analysis of another size");
    char *text = copied(sql, length);
    int is_bad = !strncmp(text, "fail", 4);
    out->statement_count = 1;
    out->query_class = strncmp(text, "insert", 6) ? 0 : 1;
    free(text);
    return is_bad;
}
