// The loss of core/training/ppo.py and its slope with respect to the networks' outputs.
//
// Outputs lie as [outputs, BLOCK], so that rows fill the vectors; lanes beyond the last row are left out
// of every sum.
#pragma once

#include <algorithm>
#include <cmath>

#include "network.h"

namespace rewardsmith {

constexpr float LOG_2PI = 1.8378770664093453f;

struct Experience {  // of one member: [rows, ...]
    const float* inputs;
    const void* actions;  // int64 [rows], or float [rows, actions]
    const float *log_probs, *advantages, *returns;
};

struct Weights {  // of one member's loss
    double learning_rate, clip, entropy, value, max_grad_norm;
};

// The means of one minibatch, as sums so far.
struct Said {
    double value = 0, entropy = 0, divergence = 0, clipped = 0;
};

struct Scratch {
    Floats room;
    float *inputs, *output, *d_output, *action, *log_prob, *advantage, *target;
    float* inverse;  // 1 / standard deviation of every action; when acting, the deviation itself
    float* d[2];
    float* turned[2][MOST_HIDDEN];
    Activations activations;

    // Without learning there is room for a forward pass alone.
    Scratch(const Form& form, bool learning) {
        room = floats(lay_out(form, learning, nullptr));
        if (room) lay_out(form, learning, room.get());
    }

  private:
    long lay_out(const Form& form, bool learning, float* base) {
        const long outputs = std::max(form.actions, 1l);
        long used = 0;
        auto take = [&](float*& place, long size) {
            place = base ? base + used : nullptr;
            used += padded(size);
        };
        take(output, BLOCK * outputs);
        take(inverse, outputs);
        for (long i = 0; i < MOST_HIDDEN; i++)  // a layer's numbers are needed again when learning
            if (learning || i < 2)
                take(activations.hidden[i], BLOCK * form.widest);
            else
                activations.hidden[i] = activations.hidden[i - 2];
        activations.output = output;
        if (!learning) return used;
        take(inputs, BLOCK * form.inputs);
        take(d_output, BLOCK * outputs);
        take(action, BLOCK * outputs);
        take(log_prob, BLOCK);
        take(advantage, BLOCK);
        take(target, BLOCK);
        for (float*& place : d) take(place, BLOCK * form.widest);
        int which = 0;
        for (const Network* network : {&form.policy, &form.value}) {
            for (long i = 1; i + 1 < network->depth; i++)
                take(turned[which][i], network->layer[i].width * padded(network->layer[i].in));
            which++;
        }
        return used;
    }
};

struct Standard {
    float mean, scale;
};

// Mean and 1 / (unbiased standard deviation + 1e-8) of a minibatch's advantages.
inline Standard standard(const float* advantages, const int64_t* rows, long size) {
    double total = 0, squares = 0;
    for (long b = 0; b < size; b++) total += advantages[rows[b]];
    double mean = total / size;
    for (long b = 0; b < size; b++) {
        double off = advantages[rows[b]] - mean;
        squares += off * off;
    }
    float deviation = static_cast<float>(std::sqrt(squares / (size - 1)));
    return {static_cast<float>(mean), 1.0f / (deviation + 1e-8f)};
}

inline void gather(
    const Form& form, const Experience& from, const int64_t* rows, long size, Standard standard, Scratch& to) {
    const long inputs = form.inputs, actions = form.actions;
    for (long b = 0; b < size; b++) {
        const int64_t row = rows[b];
        const float* input = from.inputs + row * inputs;
        for (long k = 0; k < inputs; k++) to.inputs[b * inputs + k] = input[k];
        to.log_prob[b] = from.log_probs[row];
        to.advantage[b] = (from.advantages[row] - standard.mean) * standard.scale;
        to.target[b] = from.returns[row];
        if (form.continuous)
            for (long a = 0; a < actions; a++)
                to.action[a * BLOCK + b] = static_cast<const float*>(from.actions)[row * actions + a];
        else
            to.action[b] = static_cast<float>(static_cast<const int64_t*>(from.actions)[row]);
    }
}

inline vec either(ivec condition, vec yes, vec no) { return condition ? yes : no; }

// What a vector of rows contributes to the loss through its log-probabilities.
struct Step {
    vec d_log_prob;
    ivec valid;
};

inline Step weigh(vec log_prob, long first, long rows, float size, float clip_low, float clip_high,
           const Scratch& scratch, Said& said) {
    ivec valid = lanes() + static_cast<int>(first) < static_cast<int>(rows);
    vec change = log_prob - load(scratch.log_prob + first);
    vec ratio = exp(change);
    vec advantage = load(scratch.advantage + first);
    ivec outside = ((ratio > clip_high) & (advantage > 0.0f)) | ((ratio < clip_low) & (advantage < 0.0f));
    vec d = either(outside, vec{}, advantage * ratio) * (-1.0f / size);
    said.divergence += sum(either(valid, ratio - 1.0f - change, vec{}));
    said.clipped += sum(either(valid & outside, all(1.0f), vec{}));
    return {either(valid, d, vec{}), valid};
}

// Writes d loss / d logits [actions, BLOCK].
inline void choices_gradient(
    const Form& form, long rows, float size, const Weights& weights, Scratch& scratch, Said& said) {
    const long actions = form.actions;
    const float low = static_cast<float>(1 - weights.clip), high = static_cast<float>(1 + weights.clip);
    const float bonus = static_cast<float>(weights.entropy) / size;
    for (long b = 0; b < rows; b += W) {
        float *out = scratch.output + b, *d = scratch.d_output + b;
        vec most = load(out);
        for (long a = 1; a < actions; a++) {
            vec x = load(out + a * BLOCK);
            most = x > most ? x : most;
        }
        vec total{};
        for (long a = 0; a < actions; a++) {
            vec x = load(out + a * BLOCK) - most, p = exp(x);
            store(out + a * BLOCK, x);
            store(d + a * BLOCK, p);
            total += p;
        }
        const vec log_total = log(total), share = 1.0f / total, action = load(scratch.action + b);
        vec log_prob{}, mean{};  // mean: minus the entropy
        for (long a = 0; a < actions; a++) {
            vec x = load(out + a * BLOCK) - log_total, p = load(d + a * BLOCK) * share;
            store(out + a * BLOCK, x);
            store(d + a * BLOCK, p);
            log_prob = either(action == static_cast<float>(a), x, log_prob);
            mean += p * x;
        }
        Step step = weigh(log_prob, b, rows, size, low, high, scratch, said);
        said.entropy -= sum(either(step.valid, mean, vec{}));
        for (long a = 0; a < actions; a++) {
            vec p = load(d + a * BLOCK);
            vec slope = either(action == static_cast<float>(a), 1.0f - p, -p) * step.d_log_prob;
            if (bonus != 0.0f) slope += p * (load(out + a * BLOCK) - mean) * bonus;
            store(d + a * BLOCK, slope);
        }
    }
}

// Writes d loss / d means [actions, BLOCK], and adds d loss / d log_std.
inline void vectors_gradient(
    const Form& form, const float* packed, long rows, float size, const Weights& weights, Scratch& scratch,
    float* gradient, Said& said) {
    const long actions = form.actions;
    const float* log_std = packed + form.log_std;
    const float low = static_cast<float>(1 - weights.clip), high = static_cast<float>(1 + weights.clip);
    float entropy = 0.0f;
    for (long a = 0; a < actions; a++) entropy += log_std[a] + 0.5f * (1.0f + LOG_2PI);
    said.entropy += static_cast<double>(entropy) * rows;
    for (long b = 0; b < rows; b += W) {
        float *out = scratch.output + b, *d = scratch.d_output + b;
        const float* action = scratch.action + b;
        vec log_prob{};
        for (long a = 0; a < actions; a++) {
            const float inverse = scratch.inverse[a];
            vec z = (load(action + a * BLOCK) - load(out + a * BLOCK)) * inverse;
            store(out + a * BLOCK, z);
            log_prob += -0.5f * z * z - log_std[a] - 0.5f * LOG_2PI;
        }
        Step step = weigh(log_prob, b, rows, size, low, high, scratch, said);
        for (long a = 0; a < actions; a++) {
            vec z = load(out + a * BLOCK);
            store(d + a * BLOCK, step.d_log_prob * z * scratch.inverse[a]);
            gradient[form.log_std + a] += sum(either(step.valid, step.d_log_prob * (z * z - 1.0f), vec{}));
        }
    }
}

// Writes d loss / d values [1, BLOCK].
inline void values_gradient(long rows, float size, const Weights& weights, Scratch& scratch, Said& said) {
    const float slope = static_cast<float>(2 * weights.value / size);
    for (long b = 0; b < rows; b += W) {
        ivec valid = lanes() + static_cast<int>(b) < static_cast<int>(rows);
        vec error = load(scratch.output + b) - load(scratch.target + b);
        store(scratch.d_output + b, error * slope);
        said.value += sum(either(valid, error * error, vec{}));
    }
}

}  // namespace rewardsmith
