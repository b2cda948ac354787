// One member's tanh networks in a layout made for vectors, and their forward and backward passes.
//
// Hidden weights lie as [in, out], the last layer's as [out, in]; the inner dimension is padded with
// zeros to whole vectors, which stay zero: their gradient is zero.  A row's result is a sum in one fixed
// order, so it has the same bits whatever stands beside it.
#pragma once

#include <memory>
#include <new>

#include "vectors.h"

namespace rewardsmith {

constexpr long MOST_HIDDEN = 4;
constexpr long BLOCK = 64;  // rows that pass through the networks together, so that all stays in cache

struct Spec {
    int64_t inputs, layers, hidden[MOST_HIDDEN], actions, continuous;
};

struct Layer {
    long in, out, width;    // width: the padded inner dimension
    long weight, bias;      // where they begin in the packed layout
    long flat_weight, flat_bias;  // and in the flat one
};

struct Network {
    long depth;  // layers, the last one included
    Layer layer[MOST_HIDDEN + 1];
    const Layer& last() const { return layer[depth - 1]; }
};

struct Form {
    Network policy, value;
    long log_std, flat_log_std, actions, inputs;
    bool continuous;
    long size, flat_size, widest;

    explicit Form(const Spec& spec)
        : actions(spec.actions), inputs(spec.inputs), continuous(spec.continuous != 0) {
        size = flat_size = widest = 0;
        lay_out(policy, spec, spec.actions);
        lay_out(value, spec, 1);
        log_std = size;
        flat_log_std = flat_size;
        if (continuous) {
            size += padded(actions);
            flat_size += actions;
        }
    }

  private:
    void lay_out(Network& network, const Spec& spec, long outputs) {
        network.depth = spec.layers + 1;
        long before = spec.inputs;
        for (long i = 0; i < network.depth; i++) {
            Layer& l = network.layer[i];
            bool last = i == spec.layers;
            l.in = before;
            l.out = last ? outputs : spec.hidden[i];
            l.width = padded(last ? l.in : l.out);
            l.weight = size;
            l.bias = size + l.width * (last ? l.out : l.in);
            size = l.bias + padded(l.out);
            l.flat_weight = flat_size;
            l.flat_bias = flat_size + l.in * l.out;
            flat_size = l.flat_bias + l.out;
            before = l.out;
            if (l.width > widest) widest = l.width;
        }
    }
};

// Calls `each(packed index, flat index)` for every parameter.
template <class Each>
inline void pair_up(const Form& form, Each each) {
    for (const Network* network : {&form.policy, &form.value})
        for (long i = 0; i < network->depth; i++) {
            const Layer& l = network->layer[i];
            bool last = i == network->depth - 1;
            long by_out = last ? l.width : 1, by_in = last ? 1 : l.width;
            for (long o = 0; o < l.out; o++) {
                for (long k = 0; k < l.in; k++)
                    each(l.weight + o * by_out + k * by_in, l.flat_weight + o * l.in + k);
                each(l.bias + o, l.flat_bias + o);
            }
        }
    for (long a = 0; form.continuous && a < form.actions; a++)
        each(form.log_std + a, form.flat_log_std + a);
}

inline void pack(const Form& form, const float* flat, float* packed) {
    std::memset(packed, 0, sizeof(float) * form.size);
    pair_up(form, [=](long to, long from) { packed[to] = flat[from]; });
}

inline void unpack(const Form& form, const float* packed, float* flat) {
    pair_up(form, [=](long from, long to) { flat[to] = packed[from]; });
}

// Floats aligned to vectors, zero at first; null where there is no memory.
struct Free {
    void operator()(float* x) const { ::operator delete[](x, std::align_val_t(64)); }
};
using Floats = std::unique_ptr<float[], Free>;
inline Floats floats(long size) {
    void* room = ::operator new[](sizeof(float) * size, std::align_val_t(64), std::nothrow);
    if (room) std::memset(room, 0, sizeof(float) * size);
    return Floats(static_cast<float*>(room));
}

// A matrix whose rows and columns may lie anywhere: element (i, l) is at[i * row + l * step].
struct Strided {
    const float* at;
    long row, step;
};

enum class Start { zero, bias, add };

template <long R, long V, Start START>
inline void tile(long depth, Strided a, const float* b, long b_row, const float* bias, float* c, long c_row) {
    vec sum[R][V];
#pragma GCC unroll 8
    for (long i = 0; i < R; i++)
#pragma GCC unroll 8
        for (long j = 0; j < V; j++)
            sum[i][j] = START == Start::zero ? vec{}
                        : START == Start::bias ? load(bias + j * W)
                                               : load(c + i * c_row + j * W);
    const float* at = a.at;
    for (long l = 0; l < depth; l++, at += a.step, b += b_row) {
        vec right[V];
#pragma GCC unroll 8
        for (long j = 0; j < V; j++) right[j] = load(b + j * W);
#pragma GCC unroll 8
        for (long i = 0; i < R; i++) {
            vec left = all(at[i * a.row]);
#pragma GCC unroll 8
            for (long j = 0; j < V; j++) sum[i][j] = fused(left, right[j], sum[i][j]);
        }
    }
#pragma GCC unroll 8
    for (long i = 0; i < R; i++)
#pragma GCC unroll 8
        for (long j = 0; j < V; j++) store(c + i * c_row + j * W, sum[i][j]);
}

template <long R, long V, Start START>
inline void rows_of_tiles(
    long rows, long depth, Strided a, const float* b, long b_row, const float* bias, float* c, long c_row) {
    for (; rows >= R; rows -= R, a.at += R * a.row, c += R * c_row)
        tile<R, V, START>(depth, a, b, b_row, bias, c, c_row);
    if constexpr (R > 1)
        if (rows) rows_of_tiles<R - 1, V, START>(rows, depth, a, b, b_row, bias, c, c_row);
}

template <long V, Start START>
inline void columns_of_tiles(
    long rows, long columns, long depth, Strided a, const float* b, long b_row, const float* bias, float* c,
    long c_row) {
    for (; columns >= V * W; columns -= V * W, b += V * W, c += V * W, bias += bias ? V * W : 0)
        rows_of_tiles<TILE_ROWS, V, START>(rows, depth, a, b, b_row, bias, c, c_row);
    if constexpr (V > 1)
        if (columns) columns_of_tiles<V - 1, START>(rows, columns, depth, a, b, b_row, bias, c, c_row);
}

// c[rows, columns] = start + a[rows, depth] b[depth, columns]; columns are whole vectors.
template <Start START>
inline void multiply(
    long rows, long columns, long depth, Strided a, const float* b, long b_row, const float* bias, float* c,
    long c_row) {
    columns_of_tiles<TILE_VECTORS, START>(rows, columns, depth, a, b, b_row, bias, c, c_row);
}

// Where the passes of one block of rows leave their numbers.
struct Activations {
    float* hidden[MOST_HIDDEN];  // [BLOCK, width] after tanh
    float* output;               // [outputs, BLOCK]
};

// Runs a network on x [rows, inputs]; rows <= BLOCK.
inline void forward(
    const Network& network, const float* packed, const float* x, long x_row, long rows, Activations& to) {
    const float* before = x;
    long before_row = x_row;
    for (long i = 0; i + 1 < network.depth; i++) {
        const Layer& l = network.layer[i];
        float* here = to.hidden[i];
        multiply<Start::bias>(
            rows, l.width, l.in, {before, before_row, 1}, packed + l.weight, l.width, packed + l.bias, here,
            l.width);
        for (long n = 0; n < rows * l.width; n += W) store(here + n, tanh(load(here + n)));
        before = here;
        before_row = l.width;
    }
    const Layer& l = network.last();
    for (long o = 0; o < l.out; o++) {
        const float* weight = packed + l.weight + o * l.width;
        for (long first = 0; first < rows; first += W) {  // the buffer has whole vectors of rows
            vec partial[W];
            for (long i = 0; i < W; i++) {
                const float* row = before + (first + i) * before_row;
                vec total = load(row) * load(weight);
                for (long n = W; n < l.width; n += W)
                    total = fused(load(row + n), load(weight + n), total);
                partial[i] = total;
            }
            store(to.output + o * BLOCK + first, sums(partial) + packed[l.bias + o]);
        }
    }
}

// Writes (START zero) or adds (START add) a network's gradient, given d_output [outputs, BLOCK].
//
// `turned` holds the hidden weights after the first as [out, in], padded; `d` is room for two
// blocks [BLOCK, widest].
template <Start START>
inline void backward(
    const Network& network, const float* packed, const float* const* turned, const float* x, long x_row,
    long rows, const Activations& from, const float* d_output, float* const* d, float* gradient) {
    const Layer& last = network.last();
    const float* top = from.hidden[network.depth - 2];
    multiply<START>(
        last.out, last.width, rows, {d_output, BLOCK, 1}, top, last.width, nullptr, gradient + last.weight,
        last.width);
    for (long o = 0; o < last.out; o++) {
        float total = START == Start::add ? gradient[last.bias + o] : 0.0f;
        for (long b = 0; b < rows; b++) total += d_output[o * BLOCK + b];
        gradient[last.bias + o] = total;
    }
    Strided slope{d_output, 1, BLOCK};
    long depth = last.out;
    const float* weight = packed + last.weight;
    for (long i = network.depth - 2; i >= 0; i--) {
        const Layer& l = network.layer[i];
        float* here = d[i % 2];
        multiply<Start::zero>(rows, l.width, depth, slope, weight, l.width, nullptr, here, l.width);
        const float* y = from.hidden[i];
        for (long n = 0; n < rows * l.width; n += W) {
            vec out = load(y + n);
            store(here + n, load(here + n) * (1.0f - out * out));  // tanh' = 1 - tanh^2
        }
        for (long n = 0; n < l.width; n += W) {
            vec total = START == Start::add ? load(gradient + l.bias + n) : vec{};
            for (long b = 0; b < rows; b++) total += load(here + b * l.width + n);
            store(gradient + l.bias + n, total);
        }
        const float* before = i ? from.hidden[i - 1] : x;
        long before_row = i ? network.layer[i - 1].width : x_row;
        multiply<START>(
            l.in, l.width, rows, {before, 1, before_row}, here, l.width, nullptr, gradient + l.weight, l.width);
        slope = {here, l.width, 1};
        depth = l.out;
        weight = turned[i];
    }
}

// Writes a hidden layer's weights as [padded out, padded in].
inline void turn(const Layer& l, const float* packed, float* turned) {
    const long row = padded(l.in);
    for (long k = 0; k < l.in; k += W)
        for (long o = 0; o < l.width; o += W) {
            vec block[W];
#pragma GCC unroll 16
            for (long i = 0; i < W; i++)
                block[i] = k + i < l.in ? load(packed + l.weight + (k + i) * l.width + o) : vec{};
            transpose(block);
#pragma GCC unroll 16
            for (long i = 0; i < W; i++) store(turned + (o + i) * row + k, block[i]);
        }
}

}  // namespace rewardsmith
