slsr_unit(format_golden_test format_golden_test.c)
slsr_unit(format_plan_test format_plan_test.c)
slsr_unit(format_text_test format_text_test.c)
slsr_unit(format_zone_test format_zone_test.c)
