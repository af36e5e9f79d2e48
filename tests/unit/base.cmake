slsr_unit(base_test base_test.c)
slsr_unit(checkpoint_test checkpoint_test.c)
slsr_unit(intake_test intake_test.c)
slsr_unit(count_test count_test.c)
