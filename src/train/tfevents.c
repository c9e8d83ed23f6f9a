/* tfevents.c: TensorBoard's event files, written from their description.
 * Framing (TensorFlow, tensorflow/core/lib/io/record_writer.h, "Format of a single record"): uint64 length, uint32 masked CRC-32C
 * of those eight bytes, the data, uint32 masked CRC-32C of the data; all little-endian. Data: protocol buffers
 * (tensorflow/core/util/event.proto, framework/summary.proto), of which five messages' fields are needed:
 *   Event       1 wall_time double, 2 step int64, 3 file_version string, 5 summary Summary, 7 session_log SessionLog
 *   SessionLog  1 status (1: start, from where on what earlier files say is void)
 *   Summary     1 value Value (repeated)
 *   Value       1 tag string, 2 simple_value float
 * Load: a few hundred bytes a report. */
#include "train/log.h"
#include <math.h>
#include <pthread.h>
#include <string.h>

/* ---- CRC ---- */

static uint32_t table[256];

static void fill_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
        table[i] = c;
    }
}

uint32_t wk_crc32c(const void *p, size_t n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_table);
    uint32_t c = ~0u;
    for (const uint8_t *at = p; n--; at++) c = table[(c ^ *at) & 255] ^ c >> 8;
    return ~c;
}

/* A CRC of data that holds CRCs is weak; the format turns and shifts it (crc32c.h, "Mask"). */
static uint32_t masked(const void *p, size_t n) {
    uint32_t c = wk_crc32c(p, n);
    return (c >> 15 | c << 17) + 0xA282EAD8u;
}

static void put_le(wk_buf *b, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) wk_buf_char(b, (char)(v >> 8 * i));
}

static void put_record(wk_buf *b, const wk_buf *data) {
    uint8_t length[8];
    if (data->failed) { b->failed = true; return; }
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)data->len >> 8 * i);
    wk_buf_add(b, length, 8);
    put_le(b, masked(length, 8), 4);
    wk_buf_add(b, data->ptr, data->len);
    put_le(b, masked(data->ptr, data->len), 4);
}

/* ---- protocol buffers: a field's key is number << 3 | wire type (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes) ----
 */

static void put_varint(wk_buf *b, uint64_t v) {
    for (; v >= 128; v >>= 7) wk_buf_char(b, (char)(v | 128));
    wk_buf_char(b, (char)v);
}

static void put_double(wk_buf *b, int field, double v) {
    uint64_t bits;
    memcpy(&bits, &v, 8);
    put_varint(b, (uint64_t)field << 3 | 1);
    put_le(b, bits, 8);
}

static void put_float(wk_buf *b, int field, float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    put_varint(b, (uint64_t)field << 3 | 5);
    put_le(b, bits, 4);
}

static void put_bytes(wk_buf *b, int field, const void *p, size_t n) {
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, n);
    wk_buf_add(b, p, n);
}

void wk_events_head(wk_buf *b, double wall_time, int first) {
    static const char version[] = "brain.Event:2", start[] = { 1 << 3 | 0, 1 };
    wk_buf event = { 0 };
    put_double(&event, 1, wall_time);
    put_bytes(&event, 3, version, sizeof version - 1);
    put_record(b, &event);
    wk_buf_free(&event);
    put_double(&event, 1, wall_time);
    put_varint(&event, 2 << 3 | 0);
    put_varint(&event, (uint64_t)first);
    put_bytes(&event, 7, start, sizeof start);
    put_record(b, &event);
    wk_buf_free(&event);
}

void wk_events_point(wk_buf *b, const wick_train_point *p, double wall_time) {
    static const char *const tag[WK_N_LOG_KEY] = { NULL, "train/loss", "train/learning_rate", "train/grad_norm",
        "train/tokens_per_second", "train/trained_tokens", "train/peak_memory", "val/loss" };
    wk_buf event = { 0 }, summary = { 0 };
    for (int k = 1; k < WK_N_LOG_KEY; k++) {
        wk_buf value = { 0 };
        double v = wk_log_value(p, k);
        if (!isfinite(v)) continue;
        put_bytes(&value, 1, tag[k], strlen(tag[k]));
        put_float(&value, 2, (float)v);
        if (!value.failed) put_bytes(&summary, 1, value.ptr, value.len);
        else summary.failed = true;
        wk_buf_free(&value);
    }
    put_double(&event, 1, wall_time);
    put_varint(&event, 2 << 3 | 0);
    put_varint(&event, (uint64_t)p->iteration);
    if (summary.failed) event.failed = true;
    else put_bytes(&event, 5, summary.ptr, summary.len);
    put_record(b, &event);
    wk_buf_free(&summary);
    wk_buf_free(&event);
}
