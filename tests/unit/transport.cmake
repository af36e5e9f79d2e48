# Indoors of src/transport: evidence and framing are pure.
slsr_unit(transport_evidence_test transport_evidence_test.c)
slsr_unit(poison_test poison_test.c)
slsr_unit(pace_test pace_test.c)
slsr_unit(rate_test rate_test.c)
