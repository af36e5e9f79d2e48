# Indoors of src/transport: evidence and framing are pure.
slsr_unit(transport_evidence_test transport_evidence_test.c)
