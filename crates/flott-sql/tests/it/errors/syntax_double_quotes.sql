SELECT "userId" FROM clicks;
