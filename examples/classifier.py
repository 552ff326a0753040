"""A calibrated classifier in ten lines: test accuracy and loss beside the loss of the class frequencies."""

from sklearn.datasets import load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from riemann_nn import NDMClassifier

train, test, y, truth = train_test_split(*load_wine(return_X_y=True), test_size=0.3, random_state=0)
model = NDMClassifier(random_state=0).fit(train, y)
loss = log_loss(truth, model.predict_proba(test))
print(f"test accuracy {model.score(test, truth):.3f}, loss {loss:.3f}", "right" if loss < 0.3 else "WRONG")
