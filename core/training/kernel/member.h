// One member's gradient steps: gradient, clipping by its norm, Adam.
#pragma once

#include "loss.h"

namespace rewardsmith {

constexpr double BETA1 = 0.9, BETA2 = 0.999;
constexpr float ADAM_EPSILON = 1e-5f;

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

    // Takes one gradient step on each minibatch: rows order[bounds[i]] to order[bounds[i + 1]].
    void learn(const Experience& from, const int64_t* order, const int64_t* bounds, long minibatches,
               const Weights& weights, double& updates, float* losses) {
        double means[4] = {};
        for (long i = 0; i < minibatches; i++) {
            const int64_t* rows = order + bounds[i];
            const long size = bounds[i + 1] - bounds[i];
            const Said said = slope(from, rows, size, weights);
            updates += 1;
            descend(updates, weights);
            const double sums[4] = {said.value, said.entropy, said.divergence, said.clipped};
            for (int n = 0; n < 4; n++) means[n] += sums[n] / size;
        }
        for (int n = 0; n < 4; n++) losses[n] = static_cast<float>(means[n] / minibatches);
    }

    // Writes the gradient of one minibatch.
    Said slope(const Experience& from, const int64_t* rows, long size, const Weights& weights) {
        const Standard scale = standard(from.advantages, rows, size);
        Said said;
        prepare(weights);
        for (long done = 0; done < size; done += BLOCK) {
            const long count = std::min(BLOCK, size - done);
            if (done)
                block<Start::add>(from, rows + done, count, size, scale, weights, said);
            else
                block<Start::zero>(from, rows, count, size, scale, weights, said);
        }
        return said;
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

}  // namespace rewardsmith
