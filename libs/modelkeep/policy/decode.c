/* Reads the facts of a policy question from their bytes, for whoever asks often.

   Built by `make kernel`; `decode.py` writes what a Decoder is made of, and says what is
   done where this was not built. Only the one form that facts are kept in is read: known
   fields of their own wire type, in order, each once, nothing longer than it need be, no
   default written out, maps sorted, text that is UTF-8, numbers and moments that are
   usable. Of all else `read` returns None, and protobuf reads it: what this accepts, it
   reads as protobuf does, and writing it again gives the same bytes.

   Everything here is bounded by `end`, and what was made is let go of on every way out.
   A Decoder is never changed once made, and whoever reads holds the interpreter, so
   threads may share it.

   A Record makes NamedTuples of one class from all of their fields, in their order. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NOTHING, OPAQUE, BOOL, INT, DOUBLE, TEXT, MOMENT, MESSAGE, TEXTS, MESSAGES, DOUBLES };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2 };
enum { NO_VALUE, NEW_LIST, NEW_TUPLE, NEW_DICT };          /* what stands for no field */
enum { FINE = 0, REFUSED = 1, FAILED = 2 };                /* FAILED: with an exception */
enum { HIGHEST = 63, MOST_SLOTS = 256, DEEPEST = 16 };

#define FIRST_SECOND (-62135596800LL)
#define LAST_SECOND 253402300799LL
#define NANOS 1000000000LL

struct node;

typedef struct {
    int leaf, slot;
} column;

typedef struct {
    int kind, slot, items;          /* slots: -1 for what is checked and not kept */
    int tuple;                      /* TEXTS: a tuple, where others get a list */
    int columns, width;             /* a row: so many of an item's first values */
    Py_ssize_t most;
    column *column;
    struct node *child;
} field;

typedef struct node {
    int slots;                      /* of the items of a list; others use their parent's */
    char *empty;
    field field[HIGHEST + 1];
} node;

typedef struct {
    PyObject_HEAD
    node *root;
    Py_ssize_t most;
    double largest;
    int longer_first;               /* of two keys in a map that begin alike */
} Decoder;

typedef struct {
    const uint8_t *at, *end;
    double largest;
    int longer_first;
} bytes;

/* --- reading ----------------------------------------------------------------------- */

static int varint(bytes *in, uint64_t *value) {
    uint64_t found = 0;
    for (int n = 0; n < 10 && in->at < in->end; n++) {
        uint8_t byte = *in->at++;
        if (n == 9 && byte > 1) return REFUSED;
        found |= (uint64_t)(byte & 0x7f) << (7 * n);
        if (byte & 0x80) continue;
        *value = found;
        return byte == 0 && n > 0 ? REFUSED : FINE;
    }
    return REFUSED;
}

/* Sets `part` to the bytes of a field, and goes on behind them. */
static int within(bytes *in, bytes *part) {
    uint64_t size;
    if (varint(in, &size) || size > (uint64_t)(in->end - in->at)) return REFUSED;
    *part = *in;
    part->end = in->at += size;
    return FINE;
}

static int keep(PyObject **slots, int slot, PyObject *made) {
    if (made == NULL) return FAILED;
    slots[slot] = made;
    return FINE;
}

static int fixed64(bytes *in, double *value) {
    uint64_t bits;
    if (in->end - in->at < 8) return REFUSED;
    memcpy(&bits, in->at, 8);
    memcpy(value, in->at, 8);
    in->at += 8;
    return (bits & ~(1ULL << 63)) == 0 ? REFUSED : FINE;      /* a zero is left out */
}

static int usable(const bytes *in, double value) {
    return value >= -in->largest && value <= in->largest;
}

/* Few words occur often: roles, people, digests. One that was met lately is the same
   object, so comparing it is comparing addresses, and its hash is known. */
enum { WORDS = 1024, LONGEST_WORD = 80 };
static PyObject *words[WORDS];

static PyObject **place_of(const uint8_t *at, size_t size) {
    uint64_t hash = size * 0x9e3779b97f4a7c15ULL, chunk;
    for (; size >= 8; at += 8, size -= 8) {
        memcpy(&chunk, at, 8);
        hash = (hash ^ chunk) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
    }
    chunk = 0;
    memcpy(&chunk, at, size);
    hash = (hash ^ chunk) * 0x9e3779b97f4a7c15ULL;
    return &words[(hash >> 40) % WORDS];
}

static int text(bytes *in, PyObject **made) {
    Py_ssize_t size = in->end - in->at;
    PyObject **place = NULL;
    if (size > 0 && size <= LONGEST_WORD) {
        place = place_of(in->at, (size_t)size);
        if (*place != NULL && PyUnicode_GET_LENGTH(*place) == size &&
            memcmp(PyUnicode_1BYTE_DATA(*place), in->at, (size_t)size) == 0) {
            *made = Py_NewRef(*place);
            return FINE;
        }
    }
    *made = PyUnicode_DecodeUTF8((const char *)in->at, size, NULL);
    if (*made != NULL) {
        if (place != NULL && PyUnicode_IS_ASCII(*made)) Py_XSETREF(*place, Py_NewRef(*made));
        return FINE;
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return FAILED;
    PyErr_Clear();
    return REFUSED;
}

static int plain(const bytes *in) {
    for (const uint8_t *at = in->at; at < in->end; at++)
        if (*at & 0x80) return 0;
    return 1;
}

/* Text that nobody reads must be text all the same. */
static int checked(bytes *in) {
    PyObject *made;
    if (plain(in)) return FINE;
    int said = text(in, &made);
    if (said == FINE) Py_DECREF(made);
    return said;
}

static int moment(bytes *in, PyObject **slots, int slot) {
    uint64_t raw, nanos = 0;
    int64_t seconds = 0;
    if (in->at < in->end && *in->at == 0x08) {
        in->at++;
        if (varint(in, &raw) || raw == 0) return REFUSED;
        seconds = (int64_t)raw;
    }
    if (in->at < in->end) {
        if (*in->at++ != 0x10 || varint(in, &nanos) || nanos == 0) return REFUSED;
    }
    if (in->at != in->end || nanos >= (uint64_t)NANOS) return REFUSED;
    if (seconds < FIRST_SECOND || seconds > LAST_SECOND) return REFUSED;
    if (slot < 0) return FINE;
    if (seconds > -9000000000LL && seconds < 9000000000LL)
        return keep(slots, slot, PyLong_FromLongLong(seconds * NANOS + (int64_t)nanos));
    PyObject *whole = PyLong_FromLongLong(seconds), *each = PyLong_FromLongLong(NANOS);
    PyObject *rest = PyLong_FromUnsignedLongLong(nanos), *product = NULL, *sum = NULL;
    if (whole && each && rest) product = PyNumber_Multiply(whole, each);
    if (product) sum = PyNumber_Add(product, rest);
    Py_XDECREF(whole);
    Py_XDECREF(each);
    Py_XDECREF(rest);
    Py_XDECREF(product);
    return keep(slots, slot, sum);
}

/* A scalar in its wrapper: nothing in it is the default. */
static int scalar(bytes *in, const field *of, PyObject **slots) {
    static const uint8_t tags[] = {[BOOL] = 0x08, [INT] = 0x08, [DOUBLE] = 0x09, [TEXT] = 0x0a};
    int there = in->at < in->end, slot = of->slot, said = FINE;
    uint64_t raw = 0;
    double number = 0.0;
    bytes part = *in;
    PyObject *made;
    if (there && *in->at++ != tags[of->kind]) return REFUSED;
    if (there) switch (of->kind) {
        case BOOL:
            if (varint(in, &raw) || raw != 1) return REFUSED;
            break;
        case INT:
            if (varint(in, &raw) || raw == 0) return REFUSED;
            break;
        case DOUBLE:
            if (fixed64(in, &number) || (slot >= 0 && !usable(in, number))) return REFUSED;
            break;
        default:
            if (within(in, &part) || part.at == part.end) return REFUSED;
    }
    if (in->at != in->end) return REFUSED;
    if (slot < 0) return of->kind == TEXT ? checked(&part) : FINE;
    switch (of->kind) {
        case BOOL: return keep(slots, slot, PyBool_FromLong((long)raw));
        case INT: return keep(slots, slot, PyLong_FromLongLong((int64_t)raw));
        case DOUBLE: return keep(slots, slot, PyFloat_FromDouble(number));
        default:
            if ((said = text(&part, &made)) == FINE) slots[slot] = made;
            return said;
    }
}

/* How many fields of this tag follow, the one whose tag is read among them. */
static Py_ssize_t following(bytes in, uint64_t tag, Py_ssize_t most) {
    Py_ssize_t count = 0;
    bytes part;
    uint64_t next;
    do {
        if (within(&in, &part) || ++count > most) return -1;
    } while (in.at < in.end && varint(&in, &next) == FINE && next == tag);
    return count;
}

/* Goes past the tag of another item; `following` has seen that it is there. */
static void again(bytes *in, Py_ssize_t n) {
    uint64_t tag;
    if (n > 0) varint(in, &tag);
}

static int texts(bytes *in, const field *of, uint64_t tag, PyObject **slots) {
    Py_ssize_t count = following(*in, tag, of->most);
    bytes part;
    PyObject *made = NULL, *one;
    if (count < 0) return REFUSED;
    if (of->slot >= 0) {
        made = of->tuple ? PyTuple_New(count) : PyList_New(count);
        if (keep(slots, of->slot, made)) return FAILED;
    }
    for (Py_ssize_t n = 0; n < count; n++) {
        again(in, n);
        if (within(in, &part)) return REFUSED;
        int said = made ? text(&part, &one) : checked(&part);
        if (said) return said;
        if (made && of->tuple) PyTuple_SET_ITEM(made, n, one);
        if (made && !of->tuple) PyList_SET_ITEM(made, n, one);
    }
    return FINE;
}

/* A map from text to a number: key and value are both written, whatever they are. */
static int doubles(bytes *in, const field *of, uint64_t tag, PyObject **slots) {
    Py_ssize_t count = following(*in, tag, of->most);
    bytes part, key, last = {0};
    PyObject *made = NULL, *name, *number;
    double value;
    if (count < 0) return REFUSED;
    if (of->slot >= 0 && keep(slots, of->slot, made = PyDict_New())) return FAILED;
    for (Py_ssize_t n = 0; n < count; n++) {
        again(in, n);
        if (within(in, &part) || part.at == part.end || *part.at++ != 0x0a) return REFUSED;
        if (within(&part, &key) || part.end - part.at != 9 || *part.at++ != 0x11) return REFUSED;
        memcpy(&value, part.at, 8);
        if (n > 0) {
            size_t old = last.end - last.at, new = key.end - key.at;
            int order = memcmp(last.at, key.at, old < new ? old : new);
            if (order > 0 || (order == 0 && (in->longer_first ? old <= new : old >= new)))
                return REFUSED;
        }
        last = key;
        if (made == NULL) {
            int said = checked(&key);
            if (said) return said;
            continue;
        }
        if (!usable(in, value)) return REFUSED;
        int said = text(&key, &name);
        if (said) return said;
        number = PyFloat_FromDouble(value);
        int failed = number == NULL || PyDict_SetItem(made, name, number) < 0;
        Py_DECREF(name);
        Py_XDECREF(number);
        if (failed) return FAILED;
    }
    return FINE;
}

static int message(bytes *in, const node *of, PyObject **slots);
static int filled(const node *of, PyObject **slots);

static void drop(PyObject **slots, int count) {
    for (int n = 0; n < count; n++) Py_CLEAR(slots[n]);
}

/* Puts an item's values where they belong; a column with a gap in it is none at all. */
static int placed(const field *of, PyObject **own, PyObject **slots, Py_ssize_t n) {
    for (int c = 0; c < of->columns; c++) {
        PyObject *value = own[of->column[c].leaf], **list = &slots[of->column[c].slot];
        if (*list == Py_None) continue;
        if (value == Py_None) {
            Py_SETREF(*list, Py_NewRef(Py_None));
            continue;
        }
        PyList_SET_ITEM(*list, n, Py_NewRef(value));
    }
    if (of->slot < 0) return FINE;
    PyObject *row = PyTuple_New(of->width);
    if (row == NULL) return FAILED;
    for (int s = 0; s < of->width; s++) PyTuple_SET_ITEM(row, s, Py_NewRef(own[s]));
    PyTuple_SET_ITEM(slots[of->slot], n, row);
    return FINE;
}

static int messages(bytes *in, const field *of, uint64_t tag, PyObject **slots) {
    Py_ssize_t count = following(*in, tag, of->most);
    PyObject *own[MOST_SLOTS];
    bytes part;
    if (count < 0) return REFUSED;
    if (of->slot >= 0 && keep(slots, of->slot, PyTuple_New(count))) return FAILED;
    for (int c = 0; c < of->columns; c++)
        if (keep(slots, of->column[c].slot, PyList_New(count))) return FAILED;
    if (of->items >= 0) {
        if (keep(slots, of->items, PyTuple_New(count))) return FAILED;
        for (Py_ssize_t n = 0; n < count; n++)
            PyTuple_SET_ITEM(slots[of->items], n, Py_NewRef(Py_None));
    }
    for (Py_ssize_t n = 0; n < count; n++) {
        again(in, n);
        if (within(in, &part)) return REFUSED;
        memset(own, 0, sizeof(PyObject *) * of->child->slots);
        int said = message(&part, of->child, own);
        if (said == FINE) said = filled(of->child, own);
        if (said == FINE) said = placed(of, own, slots, n);
        drop(own, of->child->slots);
        if (said) return said;
    }
    return FINE;
}

static int message(bytes *in, const node *of, PyObject **slots) {
    uint64_t last = 0, tag;
    while (in->at < in->end) {
        bytes part;
        int said;
        if (varint(in, &tag) || tag >> 3 > HIGHEST || tag >> 3 <= last) return REFUSED;
        last = tag >> 3;
        const field *one = &of->field[last];
        if (one->kind == NOTHING || (tag & 7) != BYTES) return REFUSED;
        switch (one->kind) {
            case TEXTS: said = texts(in, one, tag, slots); break;
            case MESSAGES: said = messages(in, one, tag, slots); break;
            case DOUBLES: said = doubles(in, one, tag, slots); break;
            case OPAQUE: {
                Py_ssize_t count = following(*in, tag, PY_SSIZE_T_MAX);
                for (Py_ssize_t n = 0; n < count; n++) {
                    again(in, n);
                    within(in, &part);
                }
                said = count < 0 ? REFUSED : FINE;
                break;
            }
            default:
                if (within(in, &part)) return REFUSED;
                if (one->kind == MESSAGE) said = message(&part, one->child, slots);
                else if (one->kind == MOMENT) said = moment(&part, slots, one->slot);
                else said = scalar(&part, one, slots);
        }
        if (said) return said;
    }
    return FINE;
}

/* What stands for a field that was not there. */
static int filled(const node *of, PyObject **slots) {
    for (int n = 0; n < of->slots; n++) {
        if (slots[n] != NULL) continue;
        switch (of->empty[n]) {
            case NEW_LIST: slots[n] = PyList_New(0); break;
            case NEW_TUPLE: slots[n] = PyTuple_New(0); break;
            case NEW_DICT: slots[n] = PyDict_New(); break;
            default: slots[n] = Py_NewRef(Py_None);
        }
        if (slots[n] == NULL) return FAILED;
    }
    return FINE;
}

static PyObject *Decoder_read(Decoder *self, PyObject *data) {
    PyObject *slots[MOST_SLOTS];
    if (!PyBytes_CheckExact(data) || PyBytes_GET_SIZE(data) > self->most) Py_RETURN_NONE;
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(data);
    bytes in = {at, at + PyBytes_GET_SIZE(data), self->largest, self->longer_first};
    int count = self->root->slots;
    memset(slots, 0, sizeof(PyObject *) * count);
    int said = message(&in, self->root, slots);
    if (said == FINE) said = filled(self->root, slots);
    PyObject *made = said == FINE ? PyTuple_New(count) : NULL;
    if (made == NULL) {
        drop(slots, count);
        if (said == REFUSED) Py_RETURN_NONE;
        return NULL;
    }
    for (int n = 0; n < count; n++) PyTuple_SET_ITEM(made, n, slots[n]);
    return made;
}

/* --- making a Decoder -------------------------------------------------------------- */

static void forget(node *one) {
    if (one == NULL) return;
    for (int n = 0; n <= HIGHEST; n++) {
        forget(one->field[n].child);
        free(one->field[n].column);
    }
    free(one->empty);
    free(one);
}

static int wrong(const char *what) {
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

static node *node_of(PyObject *fields, int slots, PyObject *empty, int deep);

static int columns_of(field *one, PyObject *pairs, int slots) {
    Py_ssize_t count = PyTuple_GET_SIZE(pairs);
    if (count > MOST_SLOTS) return wrong("too many columns");
    one->column = calloc((size_t)count + 1, sizeof(column));
    if (one->column == NULL) return wrong("no memory");
    for (Py_ssize_t n = 0; n < count; n++) {
        column *made = &one->column[n];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(pairs, n), "ii", &made->leaf, &made->slot))
            return -1;
        if (made->leaf < 0 || made->leaf >= one->child->slots) return wrong("no such leaf");
        if (made->slot < 0 || made->slot >= slots) return wrong("no such slot");
    }
    one->columns = (int)count;
    return 0;
}

static int list_of(field *one, PyObject *more, int slots, int deep) {
    PyObject *fields, *empty, *pairs;
    int own;
    if (!PyArg_ParseTuple(more, "niO!iO!O!i", &one->most, &one->items, &PyTuple_Type, &fields,
                          &own, &PyBytes_Type, &empty, &PyTuple_Type, &pairs, &one->width))
        return -1;
    if (one->items >= slots || one->width < 0 || one->width > own) return wrong("no such slot");
    one->child = node_of(fields, own, empty, deep + 1);
    return one->child == NULL ? -1 : columns_of(one, pairs, slots);
}

static int field_of(node *into, PyObject *said, int slots, int deep) {
    int number, kind, slot;
    PyObject *more;
    if (!PyArg_ParseTuple(said, "iiiO!", &number, &kind, &slot, &PyTuple_Type, &more))
        return -1;
    if (number < 1 || number > HIGHEST || into->field[number].kind) return wrong("a number");
    if (kind < OPAQUE || kind > DOUBLES || slot >= slots) return wrong("no such kind or slot");
    field *one = &into->field[number];
    one->kind = kind;
    one->slot = slot < 0 ? -1 : slot;
    one->items = -1;
    switch (kind) {
        case MESSAGE: {
            PyObject *none = PyBytes_FromStringAndSize(NULL, 0);
            if (none == NULL) return -1;
            one->child = node_of(more, -slots, none, deep + 1);
            Py_DECREF(none);
            return one->child == NULL ? -1 : 0;
        }
        case TEXTS: return PyArg_ParseTuple(more, "ni", &one->most, &one->tuple) ? 0 : -1;
        case MESSAGES: return list_of(one, more, slots, deep);
        case DOUBLES: return PyArg_ParseTuple(more, "n", &one->most) ? 0 : -1;
        default: return 0;
    }
}

/* `slots` below zero: those of the parent, so many, and none of its own. */
static node *node_of(PyObject *fields, int slots, PyObject *empty, int deep) {
    int most = slots < 0 ? -slots : slots, own = slots < 0 ? 0 : slots;
    if (deep > DEEPEST || most > MOST_SLOTS || PyBytes_GET_SIZE(empty) != own) {
        wrong("too deep, too many slots, or not one default for each");
        return NULL;
    }
    node *made = calloc(1, sizeof(node));
    if (made != NULL) made->empty = malloc((size_t)own + 1);
    if (made == NULL || made->empty == NULL) {
        forget(made);
        PyErr_NoMemory();
        return NULL;
    }
    made->slots = own;
    memcpy(made->empty, PyBytes_AS_STRING(empty), (size_t)own);
    for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(fields); n++) {
        if (field_of(made, PyTuple_GET_ITEM(fields, n), most, deep) < 0) {
            forget(made);
            return NULL;
        }
    }
    return made;
}

static PyObject *Decoder_new(PyTypeObject *type, PyObject *args, PyObject *names) {
    PyObject *fields, *empty;
    int slots, longer_first;
    Py_ssize_t most;
    double largest;
    (void)names;
    if (!PyArg_ParseTuple(args, "O!iO!ndp", &PyTuple_Type, &fields, &slots, &PyBytes_Type,
                          &empty, &most, &largest, &longer_first))
        return NULL;
    if (slots < 0) {
        wrong("fewer than no slots");
        return NULL;
    }
    node *root = node_of(fields, slots, empty, 0);
    if (root == NULL) return NULL;
    Decoder *made = (Decoder *)type->tp_alloc(type, 0);
    if (made == NULL) {
        forget(root);
        return NULL;
    }
    made->root = root;
    made->most = most;
    made->largest = largest;
    made->longer_first = longer_first;
    return (PyObject *)made;
}

static void Decoder_dealloc(Decoder *self) {
    PyTypeObject *type = Py_TYPE(self);
    forget(self->root);
    type->tp_free(self);
    Py_DECREF(type);
}

/* --- records ----------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyTypeObject *of;
    Py_ssize_t fields;
} Record;

static PyObject *Record_call(PyObject *made_by, PyObject *const *given, size_t count, PyObject *names) {
    Record *self = (Record *)made_by;
    if (names != NULL || PyVectorcall_NARGS(count) != self->fields) {
        PyErr_SetString(PyExc_TypeError, "takes every field, in its order");
        return NULL;
    }
    PyObject *made = self->of->tp_alloc(self->of, self->fields);
    if (made == NULL) return NULL;
    for (Py_ssize_t n = 0; n < self->fields; n++)
        PyTuple_SET_ITEM(made, n, Py_NewRef(given[n]));
    return made;
}

static PyObject *Record_new(PyTypeObject *type, PyObject *args, PyObject *names) {
    PyTypeObject *of;
    Py_ssize_t fields;
    (void)names;
    if (!PyArg_ParseTuple(args, "O!n", &PyType_Type, &of, &fields)) return NULL;
    if (!PyType_IsSubtype(of, &PyTuple_Type) || of->tp_basicsize != PyTuple_Type.tp_basicsize ||
        of->tp_dictoffset != 0 || fields < 1) {
        wrong("makes NamedTuples only");
        return NULL;
    }
    Record *made = (Record *)type->tp_alloc(type, 0);
    if (made == NULL) return NULL;
    made->call = Record_call;
    made->of = (PyTypeObject *)Py_NewRef(of);
    made->fields = fields;
    return (PyObject *)made;
}

static void Record_dealloc(Record *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(self->of);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef record_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Record, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot record_slots[] = {
    {Py_tp_new, Record_new},
    {Py_tp_dealloc, Record_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, record_members},
    {0, NULL},
};

static PyType_Spec record_spec = {"_decode.Record", sizeof(Record), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, record_slots};

/* --- the module -------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"read", (PyCFunction)Decoder_read, METH_O,
     "Return what was asked for, None for what is not there; or None for all of it."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, Decoder_new},
    {Py_tp_dealloc, Decoder_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {"_decode.Decoder", sizeof(Decoder), 0, Py_TPFLAGS_DEFAULT, slots};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_decode", NULL, -1, NULL,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__decode(void) {
    if (!PY_LITTLE_ENDIAN) {
        PyErr_SetString(PyExc_ImportError, "reads numbers as little-endian machines do");
        return NULL;
    }
    PyObject *made = PyModule_Create(&module);
    PyObject *decoder = PyType_FromSpec(&spec), *record = PyType_FromSpec(&record_spec);
    if (made == NULL || decoder == NULL || record == NULL ||
        PyModule_AddObjectRef(made, "Decoder", decoder) < 0 ||
        PyModule_AddObjectRef(made, "Record", record) < 0)
        Py_CLEAR(made);
    Py_XDECREF(decoder);
    Py_XDECREF(record);
    return made;
}
