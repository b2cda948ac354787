// The update of core/training/ppo.py and its networks' forward pass, one member after another.
//
// A member's parameters, Adam's moments and one block of activations stay in the first caches for all
// minibatches of all epochs.  Built by setup.py as a plain shared library, called by compiled.py.

#include "member.h"
#include "needs.h"

namespace rewardsmith {

// Raised with every change of what follows; library.py asks for the one that compiled.py was written for.
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
        member.learn(from, order, bounds, minibatches, weights[p], updates[p], losses + 4 * p);
        for (int i = 0; i < 3; i++) unpack(form, at[i], own[i]);
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
