SET 'parallelism.default' =;
