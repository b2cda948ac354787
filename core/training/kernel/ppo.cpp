// The update of core/training/ppo.py and its networks' forward pass, one member after another.
//
// A member's parameters, Adam's moments and one block of activations stay in the first caches for all
// minibatches of all epochs.  Built by setup.py as a plain shared library, called by compiled.py.

#include <algorithm>
#include <cmath>

#include "needs.h"
#include "network.h"

namespace rewardsmith {
namespace {

constexpr float LOG_2PI = 1.8378770664093453f;
constexpr double BETA1 = 0.9, BETA2 = 0.999;
constexpr float ADAM_EPSILON = 1e-5f;

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
Standard standard(const float* advantages, const int64_t* rows, long size) {
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

void gather(
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

Step weigh(vec log_prob, long first, long rows, float size, float clip_low, float clip_high,
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
void choices_gradient(
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
void vectors_gradient(
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
void values_gradient(long rows, float size, const Weights& weights, Scratch& scratch, Said& said) {
    const float slope = static_cast<float>(2 * weights.value / size);
    for (long b = 0; b < rows; b += W) {
        ivec valid = lanes() + static_cast<int>(b) < static_cast<int>(rows);
        vec error = load(scratch.output + b) - load(scratch.target + b);
        store(scratch.d_output + b, error * slope);
        said.value += sum(either(valid, error * error, vec{}));
    }
}

// One member in training: everything that its gradient steps touch.
struct Member {
    const Form& form;
    Scratch& scratch;
    float *packed, *first, *second, *gradient;

    template <Start START>
    void block(const Experience& from, const int64_t* rows, long count, float size, Standard standard,
               const Weights& weights, Said& said) {
        gather(form, from, rows, count, standard, scratch);
        Activations& at = scratch.activations;
        forward(form.policy, packed, scratch.inputs, form.inputs, count, at);
        if (form.continuous)
            vectors_gradient(form, packed, count, size, weights, scratch, gradient, said);
        else
            choices_gradient(form, count, size, weights, scratch, said);
        backward<START>(form.policy, packed, scratch.turned[0], scratch.inputs, form.inputs, count, at,
                        scratch.d_output, scratch.d, gradient);
        forward(form.value, packed, scratch.inputs, form.inputs, count, at);
        values_gradient(count, size, weights, scratch, said);
        backward<START>(form.value, packed, scratch.turned[1], scratch.inputs, form.inputs, count, at,
                        scratch.d_output, scratch.d, gradient);
    }

    void prepare(const Weights& weights) {
        int which = 0;
        for (const Network* network : {&form.policy, &form.value}) {
            for (long i = 1; i + 1 < network->depth; i++)
                turn(network->layer[i], packed, scratch.turned[which][i]);
            which++;
        }
        for (long a = 0; form.continuous && a < form.actions; a++) {
            scratch.inverse[a] = std::exp(-packed[form.log_std + a]);
            gradient[form.log_std + a] = -static_cast<float>(weights.entropy);
        }
    }

    // One step of Adam; the gradient is clipped to its norm first.
    void descend(double updates, const Weights& weights) {
        vec squares[4] = {};
        long n = 0;
        for (; n + 4 * W <= form.size; n += 4 * W)
            for (long i = 0; i < 4; i++) {
                vec g = load(gradient + n + i * W);
                squares[i] += g * g;
            }
        for (; n < form.size; n += W) {
            vec g = load(gradient + n);
            squares[0] += g * g;
        }
        const float norm = std::sqrt(sum((squares[0] + squares[1]) + (squares[2] + squares[3])));
        float shrink = static_cast<float>(weights.max_grad_norm) / (norm + 1e-6f);
        if (shrink > 1.0f) shrink = 1.0f;  // NaN stays
        const float step = static_cast<float>(weights.learning_rate / (1 - std::pow(BETA1, updates)));
        const float correction = static_cast<float>(1 / (1 - std::pow(BETA2, updates)));
        const float keep1 = static_cast<float>(1 - BETA1), keep2 = static_cast<float>(1 - BETA2);
        const float beta2 = static_cast<float>(BETA2);
        for (n = 0; n < form.size; n += W) {
            vec g = load(gradient + n) * shrink, m = load(first + n), v = load(second + n);
            m += (g - m) * keep1;
            v = v * beta2 + g * g * keep2;
            store(first + n, m);
            store(second + n, v);
            store(packed + n, load(packed + n) - m / (root(v * correction) + ADAM_EPSILON) * step);
        }
    }
};

}  // namespace

// Raised with every change of what follows; compiled.py asks for the one that it was written for.
constexpr int32_t INTERFACE = 1;

}  // namespace rewardsmith

using namespace rewardsmith;
#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int32_t rewardsmith_interface() { return INTERFACE; }
EXPORT const char* rewardsmith_needs() { return NEEDS; }
EXPORT int64_t rewardsmith_packed_size(const Spec* spec) { return Form(*spec).size; }
EXPORT int64_t rewardsmith_flat_size(const Spec* spec) { return Form(*spec).flat_size; }

// Returns 0, or 1 where memory is short.  Members are independent of each other.
EXPORT int32_t rewardsmith_update(
    const Spec* spec, int64_t members, int64_t rows, float* flat, float* first, float* second,
    double* updates, const uint8_t* living, const float* inputs, const void* actions, const float* log_probs,
    const float* advantages, const float* returns, const int64_t* order, const int64_t* bounds,
    int64_t minibatches, const Weights* weights, float* losses) noexcept {
    const FlushDenormals flush;
    const Form form(*spec);
    Scratch scratch(form, true);
    const Floats state = floats(4 * form.size);
    if (!scratch.room || !state) return 1;
    Member member{form, scratch, state.get(), state.get() + form.size, state.get() + 2 * form.size,
                  state.get() + 3 * form.size};
    for (int64_t p = 0; p < members; p++) {
        if (!living[p]) continue;
        const long row = p * rows;
        const char* chosen = static_cast<const char*>(actions) +
                             row * (form.continuous ? sizeof(float) * form.actions : sizeof(int64_t));
        const Experience from{inputs + row * form.inputs, chosen, log_probs + row, advantages + row,
                              returns + row};
        float* const own[3] = {flat + p * form.flat_size, first + p * form.flat_size,
                               second + p * form.flat_size};
        float* const at[3] = {member.packed, member.first, member.second};
        for (int i = 0; i < 3; i++) pack(form, own[i], at[i]);
        double means[4] = {};
        for (int64_t batch = 0; batch < minibatches; batch++) {
            const int64_t* chosen_rows = order + bounds[batch];
            const long size = bounds[batch + 1] - bounds[batch];
            const Standard scale = standard(from.advantages, chosen_rows, size);
            Said said;
            member.prepare(weights[p]);
            for (long done = 0; done < size; done += BLOCK) {
                const long count = std::min(BLOCK, size - done);
                if (done)
                    member.block<Start::add>(from, chosen_rows + done, count, size, scale, weights[p], said);
                else
                    member.block<Start::zero>(from, chosen_rows, count, size, scale, weights[p], said);
            }
            updates[p] += 1;
            member.descend(updates[p], weights[p]);
            const double sums[4] = {said.value, said.entropy, said.divergence, said.clipped};
            for (int i = 0; i < 4; i++) means[i] += sums[i] / size;
        }
        for (int i = 0; i < 3; i++) unpack(form, at[i], own[i]);
        for (int i = 0; i < 4; i++) losses[4 * p + i] = static_cast<float>(means[i] / minibatches);
    }
    return 0;
}

EXPORT void rewardsmith_pack(const Spec* spec, int64_t members, const float* flat, float* packed) noexcept {
    const Form form(*spec);
    for (int64_t p = 0; p < members; p++) pack(form, flat + p * form.flat_size, packed + p * form.size);
}

// Runs the policies (0) or the value functions (1) on inputs [members, rows, inputs].
EXPORT int32_t rewardsmith_forward(
    const Spec* spec, int64_t members, const float* packed, int32_t which, int64_t rows, const float* inputs,
    float* outputs) noexcept {
    const FlushDenormals flush;
    const Form form(*spec);
    Scratch scratch(form, false);
    if (!scratch.room) return 1;
    const Network& network = which ? form.value : form.policy;
    const long size = network.last().out;
    for (int64_t p = 0; p < members; p++)
        for (long done = 0; done < rows; done += BLOCK) {
            const long at = p * rows + done, count = std::min<long>(BLOCK, rows - done);
            forward(network, packed + p * form.size, inputs + at * form.inputs, form.inputs, count,
                    scratch.activations);
            for (long b = 0; b < count; b++)
                for (long o = 0; o < size; o++) outputs[(at + b) * size + o] = scratch.output[o * BLOCK + b];
        }
    return 0;
}

// One environment step: normalises raw [members, rows, inputs] as the policies see them, and draws
// actions with the given noise [members, rows, actions]: Gumbel for choices, else Gaussian.
EXPORT int32_t rewardsmith_act(
    const Spec* spec, int64_t members, const float* packed, int64_t rows, const float* raw, const float* mean,
    const float* scale, const float* noise, float* inputs, void* actions) noexcept {
    const FlushDenormals flush;
    const Form form(*spec);
    Scratch scratch(form, false);
    if (!scratch.room) return 1;
    const long wide = form.inputs, size = form.actions;
    for (int64_t p = 0; p < members; p++) {
        const float *own = packed + p * form.size, *center = mean + p * wide, *factor = scale + p * wide;
        for (long a = 0; form.continuous && a < size; a++)
            scratch.inverse[a] = std::exp(own[form.log_std + a]);
        for (long done = 0; done < rows; done += BLOCK) {
            const long at = p * rows + done, count = std::min<long>(BLOCK, rows - done);
            for (long b = at; b < at + count; b++)
                for (long k = 0; k < wide; k++) {
                    float x = (raw[b * wide + k] - center[k]) * factor[k];
                    x = x > 10.0f ? 10.0f : x;
                    inputs[b * wide + k] = x < -10.0f ? -10.0f : x;
                }
            forward(form.policy, own, inputs + at * wide, wide, count, scratch.activations);
            for (long b = 0; b < count; b++) {
                const float *output = scratch.output + b, *luck = noise + (at + b) * size;
                if (form.continuous) {
                    float* action = static_cast<float*>(actions) + (at + b) * size;
                    for (long a = 0; a < size; a++) action[a] = output[a * BLOCK] + scratch.inverse[a] * luck[a];
                    continue;
                }
                long best = 0;
                float most = output[0] + luck[0];
                for (long a = 1; a < size && most == most; a++) {  // the first NaN wins, as in NumPy
                    const float x = output[a * BLOCK] + luck[a];
                    if (x > most || x != x) best = a, most = x;
                }
                static_cast<int64_t*>(actions)[at + b] = best;
            }
        }
    }
    return 0;
}
