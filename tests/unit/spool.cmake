slsr_unit(spool_test spool_test.c)
slsr_unit(spool_chunk_test spool_chunk_test.c)
slsr_unit(spool_store_test spool_store_test.c)
slsr_unit(control_test control_test.c)
