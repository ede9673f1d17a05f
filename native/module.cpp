// The module of compiled kernels. negsieve/kernels/native.py picks one for the machine; nothing else imports it.
#include "arrays.hpp"
#include "pool.hpp"

namespace negsieve {

void bind_attention(nb::module_&);
void bind_band(nb::module_&);
void bind_centre(nb::module_&);
void bind_draw(nb::module_&);
void bind_graph(nb::module_&);
void bind_hardest(nb::module_&);
void bind_kept(nb::module_&);
void bind_loss(nb::module_&);
void bind_membership(nb::module_&);
void bind_metrics(nb::module_&);
void bind_mf(nb::module_&);
void bind_norms(nb::module_&);
void bind_rank(nb::module_&);
void bind_score(nb::module_&);
void bind_shuffle(nb::module_&);
void bind_tally(nb::module_&);

// Whether this processor runs the x86-64-v3 modules (AVX2, FMA, BMI).
static bool runs_v3() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

}  // namespace negsieve

NB_MODULE(NEGSIEVE_MODULE, m) {
    m.def("runs_v3", &negsieve::runs_v3);
    m.attr("isa") = NEGSIEVE_ISA;
    negsieve::bind_attention(m);
    negsieve::bind_band(m);
    negsieve::bind_centre(m);
    negsieve::bind_draw(m);
    negsieve::bind_graph(m);
    negsieve::bind_hardest(m);
    negsieve::bind_kept(m);
    negsieve::bind_loss(m);
    negsieve::bind_membership(m);
    negsieve::bind_metrics(m);
    negsieve::bind_mf(m);
    negsieve::bind_norms(m);
    negsieve::bind_rank(m);
    negsieve::bind_score(m);
    negsieve::bind_shuffle(m);
    negsieve::bind_tally(m);
}
